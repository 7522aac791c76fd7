"""One datagram: transform, answer.

`UpperDatagramHandler` is a plain `BaseRequestHandler`: it runs under every datagram server of socketserver, and under
those of `PreforkingMixIn`. Of a server of ours it takes more, and does without where it is missing: `slot`, the row of
the scoreboard to count in, and `send_answer`, which knows where an answer may go.

A datagram is whole: a sequence that is unfinished at its end comes back as it came, and nothing is kept for the next.
"""

from __future__ import annotations

import socket
from socketserver import BaseRequestHandler

from upperd.upper.transform import UpperCaser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DONTWAIT = int(socket.MSG_DONTWAIT)


class UpperDatagramHandler(BaseRequestHandler):
    """Sends every datagram back in upper case."""

    def handle(self) -> None:
        """Answer one datagram. That nobody takes the answer is no error."""
        server: Any = self.server
        slot = getattr(server, "slot", None)
        data, sock = self.request
        caser = UpperCaser()
        answer = caser.feed(data) + caser.finish()
        if slot is not None:
            slot.received(len(data))
            if caser.undecodable:
                slot.undecodable(caser.undecodable)
        try:
            send_answer = server.send_answer
        except AttributeError:
            pass  # it is not ours
        else:
            send_answer(self.request, answer)
            return
        try:
            if self.client_address:
                sock.sendto(answer, _DONTWAIT, self.client_address)
                if slot is not None:
                    slot.sent(len(answer))
        except OSError:
            pass
