"""Opens a socket with PyPI websockets and does what its standard input says, a JSON object a line:
{"send": text}, {"send": [fragments]}, {"close": code, "reason": text}.

Prints {"text": …} for each message, and {"code": …, "reason": …, "clean": …} at the end.
"""

import asyncio
import json
import sys

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus


def say(line: dict) -> None:
    print(json.dumps(line), flush=True)


async def obey(socket: websockets.ClientConnection) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "close" in order:
            await socket.close(order["close"], order["reason"])
            return
        await socket.send(order["send"])


async def main(url: str) -> None:
    try:
        socket = await websockets.connect(url, proxy=None, max_size=None)
    except InvalidStatus as error:
        say({"code": 1006, "reason": str(error.response.status_code), "clean": False})
        return
    orders = asyncio.create_task(obey(socket))
    try:
        while True:
            say({"text": await socket.recv()})
    except ConnectionClosed as end:
        code, reason = socket.close_code, socket.close_reason
        say({"code": code, "reason": reason, "clean": end.rcvd is not None})
    orders.cancel()


asyncio.run(main(sys.argv[1]))
