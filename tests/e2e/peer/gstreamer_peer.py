"""GStreamer's webrtcbin as a WHIP publisher or a WHEP player; its certificate is RSA. Prints one line of
JSON for each thing that happens.

    gstreamer_peer.py publish|play URL [--basic USER:PASSWORD | --bearer TOKEN] [--certificate FILE]

It ends its session when its standard input is closed.
"""

import argparse
import base64
import ssl
import sys
import threading
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from said import say  # noqa: E402

FRAMES_WANTED = 10
PUBLISH = """
    webrtcbin name=rtc bundle-policy=max-bundle
    videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1
        ! vp8enc deadline=1 keyframe-max-dist=30 error-resilient=default ! rtpvp8pay picture-id-mode=2 pt=96 ! rtc.
    audiotestsrc is-live=true ! opusenc ! rtpopuspay pt=97 ! rtc.
"""
CAPS = {
    "video": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,"
             "encoding-params=(string)2",
}


class Peer:
    def __init__(self, options):
        self.options = options
        self.loop = GLib.MainLoop()
        self.trust = ssl.create_default_context(cafile=options.certificate)
        self.session = None
        self.frames = {}
        if options.what == "publish":
            self.pipeline = Gst.parse_launch(PUBLISH)
            self.rtc = self.pipeline.get_by_name("rtc")
        else:
            self.pipeline = Gst.Pipeline.new()
            self.rtc = Gst.ElementFactory.make("webrtcbin", "rtc")
            self.rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
            self.pipeline.add(self.rtc)
            for caps in CAPS.values():
                self.rtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY,
                              Gst.Caps.from_string(caps))
            self.rtc.connect("pad-added", self.on_pad)
        self.rtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.rtc.connect("notify::connection-state", self.on_state)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: say(error=str(message.parse_error())))

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(500, self.offer)
        threading.Thread(target=self.wait, daemon=True).start()
        self.loop.run()
        if self.session:
            say(deleted=self.request("DELETE", self.session).status)
        self.pipeline.set_state(Gst.State.NULL)

    def wait(self):
        sys.stdin.read()
        self.loop.quit()

    def offer(self):
        self.rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))
        return False

    def on_offer(self, promise):
        # The offer lives as long as the reply.
        reply = promise.get_reply()
        self.rtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def on_gathering(self, *_):
        if self.rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self):
        offer = self.rtc.get_property("local-description").sdp.as_text()
        response = self.request("POST", self.options.url, offer.encode())
        answer = response.read().decode()
        say(status=response.status)
        self.session = urljoin(self.options.url, response.headers["Location"])
        # Both are kept: the description does not own its message in every version.
        _, self.message = GstSdp.SDPMessage.new_from_text(answer)
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        self.answer = GstWebRTC.WebRTCSessionDescription.new(kind, self.message)
        self.rtc.emit("set-remote-description", self.answer, Gst.Promise.new())
        return False

    def request(self, method, url, body=None):
        request = urllib.request.Request(url, data=body, method=method)
        request.add_header("Content-Type", "application/sdp")
        if self.options.basic:
            encoded = base64.b64encode(self.options.basic.encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        if self.options.bearer:
            request.add_header("Authorization", f"Bearer {self.options.bearer}")
        return urllib.request.urlopen(request, context=self.trust)

    def on_state(self, *_):
        say(state=self.rtc.get_property("connection-state").value_nick)

    def on_pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        kind = pad.get_current_caps().get_structure(0).get_string("media")
        sink = Gst.ElementFactory.make("fakesink", None)
        sink.set_property("sync", False)
        sink.set_property("async", False)
        decode = Gst.parse_bin_from_description(
            "rtpvp8depay ! vp8dec" if kind == "video" else "rtpopusdepay ! opusdec", True)
        self.pipeline.add(decode)
        self.pipeline.add(sink)
        decode.link(sink)
        decode.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self.on_frame, kind)
        decode.sync_state_with_parent()
        sink.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def on_frame(self, _pad, _info, kind):
        self.frames[kind] = self.frames.get(kind, 0) + 1
        if self.frames[kind] == FRAMES_WANTED:
            say(frames=kind)
        return Gst.PadProbeReturn.OK


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["publish", "play"])
    parser.add_argument("url")
    parser.add_argument("--basic")
    parser.add_argument("--bearer")
    parser.add_argument("--certificate")
    Gst.init(None)
    Peer(parser.parse_args()).run()


main()
