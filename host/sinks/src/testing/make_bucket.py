"""Makes a bucket or container by one request: METHOD URL KEY, where a KEY is that of an Azure account."""

import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.parse
import urllib.request

method, url, key = sys.argv[1:]
request = urllib.request.Request(url, method=method)
if key:
    # Shared Key, as in "Authorize with Shared Key" of Azure's documentation.
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    parts = urllib.parse.urlparse(url)
    account = parts.path.split("/")[1]
    query = sorted(urllib.parse.parse_qsl(parts.query))
    resource = f"/{account}{parts.path}" + "".join(f"\n{name}:{value}" for name, value in query)
    signed = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items())) + resource
    text = f"{method}\n" + "\n" * 11 + signed
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode()
    request.headers.update(headers)
    request.add_header("Authorization", f"SharedKey {account}:{signature}")
with urllib.request.urlopen(request) as response:
    assert response.status in (200, 201), response.status
