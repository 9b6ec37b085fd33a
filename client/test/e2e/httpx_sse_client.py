"""Reads a stream with httpx-sse and prints every block as a line of JSON.

httpx-sse leaves coming back to its user, so this does what its documentation shows:
wait as long as the server said, then go on after the last id.
"""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

RETRY_SECONDS_DEFAULT = 0.2


def main(url: str) -> None:
    last_id = ""
    retry_seconds = RETRY_SECONDS_DEFAULT
    with httpx.Client(timeout=None, trust_env=False) as client:
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    for block in source.iter_sse():
                        last_id = block.id
                        if block.retry is not None:
                            retry_seconds = block.retry / 1000
                        line = {"type": block.event, "data": block.data, "id": block.id}
                        print(json.dumps(line), flush=True)
            except httpx.TransportError:
                pass
            time.sleep(retry_seconds)


main(sys.argv[1])
