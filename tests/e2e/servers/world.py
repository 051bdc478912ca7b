"""What is outside, for tests: TLS at 443, HTTP at 8080, lines at 5432, each saying who it is; DNS at 53 keeps count."""

import asyncio
import ssl
import sys

asked = []


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nworld")
    await writer.drain()
    writer.close()


async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    writer.write(b"world speaks first\n")
    await writer.drain()
    writer.close()


class Dns(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object):
        print("asked", data, flush=True)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    await asyncio.start_server(hello, "0.0.0.0", 443, ssl=context)
    await asyncio.start_server(hello, "0.0.0.0", 8080)
    await asyncio.start_server(hello, "0.0.0.0", 9999)
    await asyncio.start_server(first, "0.0.0.0", 5432)
    await asyncio.get_running_loop().create_datagram_endpoint(Dns, local_addr=("0.0.0.0", 53))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
