"""Makes a bucket or container, or an object of the bytes of standard input, by one request: URL KEY KIND.

A KEY is that of an Azure account; a KIND is `bucket`, `object`, or `folder`: an empty object that Hadoop takes for a folder.
"""

import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.parse
import urllib.request

url, key, kind = sys.argv[1:]
body = sys.stdin.buffer.read() if kind == "object" else b""
request = urllib.request.Request(url, method="PUT", data=body)
request.add_header("Content-Type", "application/octet-stream")
if key:
    # Shared Key, as in "Authorize with Shared Key" of Azure's documentation.
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    if kind != "bucket":
        headers["x-ms-blob-type"] = "BlockBlob"
    if kind == "folder":
        headers["x-ms-meta-hdi_isfolder"] = "true"
    parts = urllib.parse.urlparse(url)
    account = parts.path.split("/")[1]
    query = sorted(urllib.parse.parse_qsl(parts.query))
    resource = f"/{account}{parts.path}" + "".join(f"\n{name}:{value}" for name, value in query)
    signed = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items())) + resource
    length = str(len(body)) if body else ""
    text = "\n".join(["PUT", "", "", length, "", "application/octet-stream", "", "", "", "", "", "", signed])
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode()
    request.headers.update(headers)
    request.add_header("Authorization", f"SharedKey {account}:{signature}")
else:
    # Not checked, but a key without it is taken for a stranger's, who may not overwrite.
    request.add_header("Authorization", "AWS test:unchecked")
with urllib.request.urlopen(request) as response:
    assert response.status in (200, 201), response.status
