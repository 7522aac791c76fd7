"""The client library: finds the daemon, connects and has text upper-cased.

from upperd.client import Client, upper
"""

from upperd.client.client import Client, upper
from upperd.client.finding import AccessError, ClientError, NoDaemonError, ReplyTimeoutError, ShortReplyError

__all__ = ["AccessError", "Client", "ClientError", "NoDaemonError", "ReplyTimeoutError", "ShortReplyError", "upper"]
