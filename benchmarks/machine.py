"""On what machine, with what programs, figures were measured."""

import os
import platform
import subprocess


def describe() -> dict:
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as file:
        kilobytes = int(file.readline().split()[1])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(kilobytes / (1 << 20)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit,
    }
