"""aiortc as a WHIP publisher or a WHEP player. Prints one line of JSON for each thing that happens.

    aiortc_peer.py publish|play URL [--basic USER:PASSWORD | --bearer TOKEN] [--certificate FILE]
        [--turn URL USER PASSWORD]

It ends its session when its standard input is closed.
"""

import argparse
import asyncio
import base64
import ssl
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from said import say

FRAMES_WANTED = 10


async def count(kind, track):
    for _ in range(FRAMES_WANTED):
        await track.recv()
    say(frames=kind)
    while True:
        await track.recv()


async def run(options):
    headers = {"Content-Type": "application/sdp"}
    if options.basic:
        encoded = base64.b64encode(options.basic.encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
    if options.bearer:
        headers["Authorization"] = f"Bearer {options.bearer}"
    servers = [RTCIceServer(*options.turn)] if options.turn else []
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    if options.what == "publish":
        pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
        pc.addTransceiver(VideoStreamTrack(), direction="sendonly")
    else:
        pc.addTransceiver("audio", direction="recvonly")
        pc.addTransceiver("video", direction="recvonly")

        @pc.on("track")
        def on_track(track):
            asyncio.ensure_future(count(track.kind, track))

    @pc.on("connectionstatechange")
    def on_state():
        say(state=pc.connectionState)

    await pc.setLocalDescription(await pc.createOffer())
    trust = ssl.create_default_context(cafile=options.certificate)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        body = pc.localDescription.sdp
        async with http.post(options.url, data=body, headers=headers) as response:
            answer = await response.text()
            say(status=response.status, detail=answer if response.status != 201 else "")
            if response.status != 201:
                return
            session = urljoin(options.url, response.headers["Location"])
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        # Until somebody closes standard input.
        await asyncio.get_running_loop().run_in_executor(None, options.until.read)
        del headers["Content-Type"]
        async with http.delete(session, headers=headers) as response:
            say(deleted=response.status)
    await pc.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["publish", "play"])
    parser.add_argument("url")
    parser.add_argument("--basic")
    parser.add_argument("--bearer")
    parser.add_argument("--certificate")
    parser.add_argument("--turn", nargs=3, metavar=("URL", "USER", "PASSWORD"))
    options = parser.parse_args()
    options.until = open(0, "rb")
    asyncio.run(run(options))


main()
