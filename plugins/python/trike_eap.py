"""What an EAP method in Python needs to be a plugin of trike: the gRPC service of eap.proto, and the lockstep of requests and responses.

A method is a class with these attributes and functions (word.py is one):

    name, version, type     what it is; type is the EAP method type, 255 for experiments
    makes_keys, mutual      whether a session ends with a key, and whether the server is proved to the client
    settings                [(name, secret, required, help)]
    configure(values, secrets)   raises ValueError with what is wrong
    server(begin)           a generator: it yields the data of each request, gets the data of the response, and returns Success
    client(begin, request)  a generator: it gets the data of the first request, yields the data of each response, gets that of the next request or, when EAP Success has come, None; and returns Success

Either raises Refused with a reason for the operator when the other side is wrong. Any other exception is the plugin's own fault.
"""

import concurrent.futures
import os
import sys
import threading

import grpc

import eap_pb2 as pb

PROTOCOL = "trike.eap.v1"
MAX_SESSIONS = 16384
MAX_MESSAGE = 1 << 20
MAX_REASON = 1024
MAX_TURNS = 32  # requests of one conversation

REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4  # RFC 3748 section 4
NOTIFICATION = 2  # RFC 3748 section 5.2


class Refused(Exception):
    """The other side is wrong. The text is for the operator: no secrets."""


class Success:
    """The end of a conversation that went well. identity and groups are the server's to say."""

    def __init__(self, msk=b"", identity="", groups=()):
        self.msk, self.identity, self.groups = msk, identity, groups


def parse(packet):
    """Takes an EAP packet apart: code, identifier, type, data (RFC 3748 section 4). Octets beyond its length are padding."""
    if len(packet) < 4:
        raise Refused("EAP packet is shorter than its header")
    code, identifier, length = packet[0], packet[1], packet[2] << 8 | packet[3]
    if length < 4 or length > len(packet):
        raise Refused("EAP packet's length field is not what has come")
    if code in (SUCCESS, FAILURE):
        return code, identifier, 0, b""
    if code not in (REQUEST, RESPONSE) or length == 4:
        raise Refused("EAP packet has a code that is none, or no type")
    return code, identifier, packet[4], packet[5:length]


def frame(code, identifier, kind, data):
    length = 5 + len(data)
    return bytes([code, identifier, length >> 8, length & 255, kind]) + data


def going_on(packet):
    return pb.Step(outcome=pb.OUTCOME_CONTINUE, packet=packet)


def refused(why):
    line = "".join(c if c.isprintable() else " " for c in str(why)) or "the method failed without a word"
    return pb.Step(outcome=pb.OUTCOME_FAILURE, reason=line.encode()[:MAX_REASON].decode(errors="ignore"))


def succeeded(end):
    if not isinstance(end, Success):
        raise TypeError("the method ended and did not return Success")
    return pb.Step(outcome=pb.OUTCOME_SUCCESS, msk=end.msk, identity=end.identity, groups=end.groups)


class Server:
    """The side that asks."""

    def __init__(self, method, begin):
        self.kind, self.talk = method.type, method.server(begin)
        self.identifier, self.answered, self.turns = begin.identifier, None, 0
        self.out = None

    def begin(self):
        try:
            self.out = frame(REQUEST, self.identifier, self.kind, next(self.talk))
        except Refused as why:
            return refused(why)
        return going_on(self.out)

    def next(self, packet):
        try:
            return self.respond(packet)
        except Refused as why:
            return refused(why)

    def respond(self, packet):
        code, identifier, kind, data = parse(packet)
        self.turns += 1
        if self.turns > MAX_TURNS:
            raise Refused("the conversation has no end")
        if code != RESPONSE:
            raise Refused(f"the peer sends a packet with code {code} where a response belongs")
        if packet == self.answered:  # RFC 3748 section 4.1: the same again is answered by the same again
            return going_on(self.out)
        if identifier != self.identifier:
            raise Refused(f"the peer answers EAP request {identifier}, and {self.identifier} was asked")
        if kind != self.kind:
            raise Refused(f"the peer answers with EAP type {kind}, and {self.kind} was asked")
        try:
            data = self.talk.send(data)
        except StopIteration as end:
            return succeeded(end.value)
        self.answered, self.identifier = packet, (self.identifier + 1) % 256
        self.out = frame(REQUEST, self.identifier, self.kind, data)
        return going_on(self.out)


class Client:
    """The side that answers."""

    def __init__(self, method, begin):
        self.method, self.info, self.talk = method, begin, None
        self.asked, self.out, self.turns = None, None, 0

    def begin(self):
        return self.next(self.info.packet)

    def next(self, packet):
        try:
            return self.request(packet)
        except Refused as why:
            return refused(why)

    def request(self, packet):
        code, identifier, kind, data = parse(packet)
        self.turns += 1
        if self.turns > MAX_TURNS:
            raise Refused("the conversation has no end")
        if code == FAILURE:
            raise Refused("the server refuses us")
        if code == SUCCESS:
            return self.over()
        if code != REQUEST:
            raise Refused(f"the server sends a packet with code {code} where a request belongs")
        if packet == self.asked:  # RFC 3748 section 4.1
            return going_on(self.out)
        if kind == NOTIFICATION:
            return self.say(packet, identifier, kind, b"")
        if kind != self.method.type:
            raise Refused(f"the server asks by EAP type {kind}, and {self.method.type} was begun")
        try:
            if self.talk is None:
                self.talk = self.method.client(self.info, data)
                answer = next(self.talk)
            else:
                answer = self.talk.send(data)
        except StopIteration:
            raise Refused("the server asks when all was said") from None
        return self.say(packet, identifier, kind, answer)

    def over(self):
        """RFC 3748 section 4.2: EAP Success counts where the method may end."""
        if self.talk is None:
            raise Refused("the server says success before it has asked")
        try:
            self.talk.send(None)
        except StopIteration as end:
            return succeeded(end.value)
        raise Refused("the server says success before the method is complete")

    def say(self, packet, identifier, kind, data):
        self.asked, self.out = packet, frame(RESPONSE, identifier, kind, data)
        return going_on(self.out)


class Service:
    """eap.proto's Method. Sessions run side by side; the calls of one do not overlap."""

    def __init__(self, method):
        self.method, self.sessions, self.lock = method, {}, threading.Lock()

    def Describe(self, request, context):
        m = self.method
        settings = [pb.Setting(name=n, secret=s, required=r, help=h) for n, s, r, h in m.settings]
        return pb.Description(name=m.name, version=m.version, type=m.type, roles=[pb.ROLE_SERVER, pb.ROLE_CLIENT], makes_keys=m.makes_keys, mutual=m.mutual, settings=settings)

    def Configure(self, request, context):
        try:
            self.method.configure(dict(request.values), dict(request.secrets))
        except ValueError as why:
            return pb.Configured(error=str(why))
        return pb.Configured()

    def Begin(self, request, context):
        with self.lock:
            if request.id in self.sessions or len(self.sessions) >= MAX_SESSIONS:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"session {request.id} is open already, or there are too many")
            self.sessions[request.id] = None  # taken
        session = (Server if request.role == pb.ROLE_SERVER else Client)(self.method, request)
        step = None
        try:
            step = session.begin()
        except ValueError as why:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(why))
        finally:
            with self.lock:
                if step is not None and step.outcome == pb.OUTCOME_CONTINUE and request.id in self.sessions:
                    self.sessions[request.id] = session
                else:  # it is over, or Abort was quicker
                    self.sessions.pop(request.id, None)
        return step

    def Next(self, request, context):
        with self.lock:
            session = self.sessions.get(request.id)
        if session is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no session {request.id}")
        try:
            step = session.next(request.packet)
        except BaseException:
            self.drop(request.id)
            raise
        if step.outcome != pb.OUTCOME_CONTINUE:
            self.drop(request.id)
        return step

    def Abort(self, request, context):
        self.drop(request.id)
        return pb.Aborted()

    def drop(self, number):
        with self.lock:
            self.sessions.pop(number, None)


CALLS = {
    "Describe": pb.DescribeRequest, "Configure": pb.Config, "Begin": pb.BeginRequest, "Next": pb.NextRequest, "Abort": pb.AbortRequest,
}


def serve(method):
    """Runs a method as a plugin, until trike ends it. Log to standard error: it goes into trike's log."""
    if os.environ.get("TRIKE_EAP_PLUGIN") != PROTOCOL:
        sys.exit(f"This is {method.name}, an EAP method for trike, which starts it itself: name the file in the policy's plugins. `trike plugin test FILE` tries it.")
    service = Service(method)
    handlers = {
        call: grpc.unary_unary_rpc_method_handler(getattr(service, call), request_deserializer=kind.FromString, response_serializer=lambda m: m.SerializeToString())
        for call, kind in CALLS.items()
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.max_receive_message_length", MAX_MESSAGE)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{PROTOCOL}.Method", handlers),))
    socket = os.path.join(os.environ["TMPDIR"], "eap.sock")
    server.add_insecure_port("unix:" + socket)
    server.start()
    print(f"1|1|unix|{socket}|grpc", flush=True)
    server.wait_for_termination()
