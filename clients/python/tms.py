"""A client of TMS, the Token Management System: takes a token of a pool, keeps it alive, and gives it back.

    import tms

    with tms.acquire("licences", wait=60) as lease:
        work_with(lease.token)

While the block runs a thread keeps the lease alive. Where that cannot be done, lease.lost is set, a threading.Event,
before the server can give the token to anybody else; lease.check() raises LeaseLost then, and so does the end of the
block. At the end of the block the token goes back, whatever happened in it.

One file, the standard library only, Python 3.8 or later. A lease belongs to the process that took it: after os.fork,
and so in multiprocessing, only the parent keeps it alive. docs/http.md of TMS says what the server promises.
"""

import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
import uuid

__all__ = ["Client", "Lease", "TMSError", "Refused", "NoneAvailable", "Unknown", "LeaseLost", "acquire"]

LONGEST_WAIT = 30  # s that one request waits; whoever waits longer asks again and keeps the place
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2  # s between two requests for the same, where nothing says how long
GIVE_UP_TIME = 2  # s for which a caller who gives up is held to leave nothing behind

# A lease that is refused so has ended. Any other refusal says nothing of it.
ENDED = {"lease_lost", "token_not_found", "not_holder", "pool_not_found"}


class TMSError(Exception):
    """What this module raises."""


class Refused(TMSError):
    """The server refused, and nothing has changed. code says why: see docs/http.md."""

    doubt = False

    def __init__(self, problem):
        self.code = problem.get("code", "")
        self.status = problem.get("status", 0)
        self.detail = problem.get("detail", "")
        self.field = problem.get("field", "")
        self.pause = problem.get("retry_after_ms", 0) / 1000
        super().__init__(": ".join(text for text in (self.code, self.field, self.detail) if text))

    @property
    def passes(self):
        """Whether the same may be done a little later."""
        return self.status == 503 or self.code == "rate_limited"


class NoneAvailable(Refused):
    """No token was free in time."""


class Unknown(TMSError):
    """The server did not answer, or did not know: it may have been done or not."""


class LeaseLost(TMSError):
    """The lease has ended before it was given back; somebody else may hold the token."""


def now():
    """Seconds on a clock that nobody sets, and that goes on while the machine is suspended, where it has one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Client:
    """Reaches one server, or several behind one address. It is safe for use by many threads."""

    def __init__(self, server=None, key=None, ca_file=None, timeout=10):
        """server defaults to $TMS_SERVER, or http://127.0.0.1:8080, key to $TMS_KEY, and ca_file, with the certificates
        to trust over https, to $TMS_CA_FILE, or those of the machine. timeout is how many seconds an answer may take,
        beyond what a request waits."""
        url = urllib.parse.urlsplit(server or os.environ.get("TMS_SERVER") or "http://127.0.0.1:8080")
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise ValueError("server must be a URL such as http://127.0.0.1:8080")
        self._host, self._port, self._path = url.hostname, url.port, url.path.rstrip("/")
        self._tls = None
        if url.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca_file or os.environ.get("TMS_CA_FILE") or None)
        self._key = key or os.environ.get("TMS_KEY")
        self.timeout = timeout
        self._longest = LONGEST_WAIT

    def acquire(self, pool="default", wait=0, client_id=None, ttl=None, prefer=None, match=None):
        """Takes a token and returns its Lease. It waits for one as many seconds as wait says; None: without an end.

        client_id says who holds it, for those who look; default: machine and process. ttl is how long the lease lasts
        without a sign of life, as "90s"; default: what the pool says. prefer names the token to have if it is free, and
        match the metadata that it must have. NoneAvailable: there was none in time. Refused: see its code. Unknown: the
        server could not be reached; whatever it gave nevertheless has been given back, or ends by itself."""
        ask = {"pool": pool, "client_id": client_id or "%s-%d" % (socket.gethostname(), os.getpid())}
        for name, value in (("ttl", ttl), ("prefer", prefer), ("match", match)):
            if value is not None:
                ask[name] = value
        given = None
        try:
            given = self._acquire(ask, None if wait is None else now() + wait)
            return given
        finally:
            if given is None:
                self._give_up(ask)

    def _acquire(self, ask, ends):
        patient = now() + self.timeout if ends is None else max(ends, now() + self.timeout)
        pause = FIRST_PAUSE
        while True:
            ask.setdefault("request_id", uuid.uuid4().hex)
            left = self._longest if ends is None else max(0, min(ends - now(), self._longest))
            least = 0
            try:
                lease = self._assign(ask, left)
                if lease:
                    lease._begin()
                    return lease
                del ask["request_id"]  # what it was given has ended meanwhile
                continue
            except Refused as refused:
                if left == 0:
                    del ask["request_id"]  # it has left nothing behind
                if isinstance(refused, NoneAvailable):
                    if ends is not None and now() >= ends:
                        raise
                    continue  # the place is kept: ask again at once
                if refused.field == "wait" and left > 1:  # it is more than the server's max_wait
                    self._longest = left / 2
                    continue
                if not refused.passes:
                    raise
                failed, least = refused, refused.pause
            except Unknown as unknown:  # with its request_id it may be asked again
                failed = unknown
            pause = max(pause, least)
            if ends is not None and now() + pause >= patient:
                raise failed
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _assign(self, ask, wait):
        """Returns the lease that the server gave, or None if it has ended before anybody heard of it."""
        sent = now()
        body = dict(ask)
        if wait > 0:
            body["wait"] = "%dms" % max(1, wait * 1000)
        try:
            lease = Lease(self, self._post("/assign-token", body, wait + self.timeout), sent)
            if now() - sent > lease.remaining() / 10:  # it began long after it was asked for
                lease._renew()
            return lease
        except LeaseLost:
            return None
        except Refused as refused:
            if refused.code == "lease_lost":
                return None
            raise

    def _give_up(self, ask):
        """Leaves nothing behind: neither a place in the queue nor a token that came too late."""
        if "request_id" not in ask:
            return
        ends, body = now() + GIVE_UP_TIME, {"pool": ask["pool"], "request_id": ask["request_id"]}
        while now() < ends:
            try:
                self._post("/unblock-token", body, max(0.1, ends - now()))
                return
            except Refused as refused:
                if not refused.passes:
                    return
            except Unknown:
                pass
            time.sleep(FIRST_PAUSE)

    def generate(self, pool="default", count=None, tokens=None, metadata=None):
        """Puts tokens into the pool: count that the server draws, or these. Returns their values. It is all or none."""
        body = {"pool": pool, "request_id": uuid.uuid4().hex}
        for name, value in (("count", count), ("tokens", tokens), ("metadata", metadata)):
            if value is not None:
                body[name] = value
        return self._insist("/generate-token", body)["tokens"]

    def lookup(self, token, pool="default"):
        """Returns what the server says of a token: its state, who holds it, since when."""
        return self._insist("/lookup-token", {"pool": pool, "token": token})

    def history(self, token, pool="default"):
        """Returns the same with "history": how the last leases of the token ended."""
        return self._insist("/token-history", {"pool": pool, "token": token})

    def _insist(self, path, body):
        """Asks until it is answered, or the timeout is over. What is asked must be safe to repeat."""
        ends, pause, doubt = now() + self.timeout, FIRST_PAUSE, False
        while True:
            try:
                return self._post(path, body, max(0.1, ends - now()))
            except (Refused, Unknown) as failed:
                failed.doubt = doubt  # it may have been done before
                if isinstance(failed, Refused) and not failed.passes or now() + pause >= ends:
                    raise
                doubt = doubt or isinstance(failed, Unknown)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _post(self, path, body, timeout):
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self._key:
            headers["Authorization"] = "Bearer " + self._key
        try:
            if self._tls:
                connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
            try:
                connection.request("POST", self._path + path, json.dumps(body), headers)
                answer = connection.getresponse()
                text, media = answer.read(), answer.headers.get_content_type()
            finally:
                connection.close()
            said = json.loads(text) if media.endswith("json") else None
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as failed:
            raise Unknown("the server did not answer: %s" % failed) from failed
        return self._read(answer.status, media, said)

    @staticmethod
    def _read(status, media, said):
        if isinstance(said, dict) and media == "application/problem+json" and said.get("code") != "failed":
            raise NoneAvailable(said) if said.get("code") == "no_token_available" else Refused(said)
        if status >= 300 or not isinstance(said, dict):
            raise Unknown("the server, or what stands before it, answered %d" % status)
        return said


class Lease:
    """The right to a token, until it is given back or lost.

    token, pool, lease_id, fence and metadata are what the server said of it. lost is set when the lease has ended
    before it was given back. Let what you protect refuse a fence that is smaller than one it has seen."""

    def __init__(self, client, answer, sent):
        self._client = client
        self.pool, self.token, self.lease_id = answer["pool"], answer["token"], answer["lease_id"]
        self.fence, self.metadata = answer["fence"], answer.get("metadata", {})
        self.lost = threading.Event()
        self._given_back = False
        self._done = threading.Event()
        self._said(answer, sent)

    def _said(self, answer, sent):
        """Counts the lease from before the request was sent."""
        self._ends = sent + answer["ttl_ms"] / 1000
        self._next = answer["renew_after_ms"] / 1000

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.release()
        except LeaseLost:
            if kind is None:
                raise
        except TMSError:  # it ends by itself
            pass

    def remaining(self):
        """How many seconds the lease lasts at least if nobody keeps it alive; 0: it may have ended."""
        return 0 if self.lost.is_set() else max(0, self._ends - now())

    def check(self):
        """Raises LeaseLost if the lease has ended."""
        if self.remaining() == 0:
            raise LeaseLost("the lease of %r has ended" % self.token)

    def release(self, quarantine=False):
        """Gives the token back, or puts it aside where it is broken. Doing so again changes nothing. LeaseLost: it was
        somebody else's already, perhaps. Unknown: the server cannot be reached; the lease ends by itself."""
        if self._given_back:
            return
        self._done.set()
        self._given_back = True
        body = self._proof()
        if quarantine:
            body["outcome"] = "quarantine"
        try:
            self._client._insist("/unblock-token", body)
        except Refused as refused:
            if refused.code not in ENDED:
                raise
            if self.lost.is_set() or not refused.doubt:
                raise LeaseLost(str(refused)) from refused

    def _proof(self):
        return {"pool": self.pool, "token": self.token, "lease_id": self.lease_id}

    def _renew(self):
        """Keeps the lease alive. LeaseLost: it has ended."""
        sent = now()
        timeout = max(0.1, min(self._client.timeout, max(self._ends - sent, 1)))
        try:
            answer = self._client._post("/keep-alive", self._proof(), timeout)
        except Refused as refused:
            if refused.code in ENDED:
                raise LeaseLost(str(refused)) from refused
            raise
        self._said(answer, sent)

    def _begin(self):
        threading.Thread(target=self._keep, name="tms lease", daemon=True).start()

    def _keep(self):
        pause, failures = self._next, 0
        while not self._done.wait(max(0, min(pause, self._ends - now()))):
            if now() >= self._ends:
                return self._lose()
            try:
                self._renew()
                pause, failures = self._next, 0
            except LeaseLost:
                return self._lose()
            except TMSError as failed:
                pause = max(getattr(failed, "pause", 0), min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE))
                pause, failures = pause * random.uniform(0.5, 1), failures + 1

    def _lose(self):
        if not self._done.is_set():
            self.lost.set()


def acquire(pool="default", wait=0, **options):
    """Takes a token of the server that the environment names: see Client.acquire."""
    return Client().acquire(pool, wait, **options)
