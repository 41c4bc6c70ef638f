"""The method that `trike plugin new` writes, in Python: the two understand each other.

    server: nonceS
    client: nonceC, HMAC(word, "client", name, nonceS, nonceC)
    server: HMAC(word, "server", name, nonceS, nonceC)
    client: nothing, it is content

The key is HMAC(word, "key", name, nonceS, nonceC), with SHA-512: 64 octets.
"""

import hmac
import os

from trike_eap import Refused, Success, serve

NONCE = 16  # octets
PROOF = 64


def proof(word, what, name, nonce_s, nonce_c):
    text = name.encode()
    return hmac.digest(word, b"%s %d %s " % (what, len(text), text) + nonce_s + nonce_c, "sha512")


class Word:
    name, version, type = "word", "0.1", 255
    makes_keys = mutual = True
    settings = [
        ("words", True, False, "server: a line a user: the name, a space, the word"),
        ("word", True, False, "client: its word"),
    ]

    def __init__(self):
        self.words, self.word = None, None

    def configure(self, values, secrets):
        if not secrets:
            raise ValueError("it has no secret: give it words to be a server or word to be a client")
        if "word" in secrets:
            self.word = secrets["word"].strip()
            if not self.word:
                raise ValueError("secret word is empty")
        if "words" in secrets:
            self.words = {}
            for number, line in enumerate(secrets["words"].strip().split(b"\n"), 1):
                name, space, word = line.strip().partition(b" ")
                if not space or not name:
                    raise ValueError(f"secret words: line {number} is not a name, a space and a word")  # never the line itself: errors are logged
                self.words[name] = word

    def server(self, begin):
        if self.words is None:
            raise ValueError("it cannot be a server: it was given no secret words")
        name = begin.identity
        word = self.words.get(name.encode())
        mine = os.urandom(NONCE)
        response = yield mine
        if len(response) != NONCE + PROOF:
            raise Refused(f"the client sends {len(response)} octets")
        theirs = response[:NONCE]
        right = hmac.compare_digest(response[NONCE:], proof(word or b"", b"client", name, mine, theirs))  # for users that there are not, too
        if word is None or not right:
            raise Refused(f"user {name!r}: unknown, or the wrong word")
        yield proof(word, b"server", name, mine, theirs)
        return Success(msk=proof(word, b"key", name, mine, theirs), identity=name)

    def client(self, begin, request):
        if self.word is None:
            raise ValueError("it cannot be a client: it was given no secret word")
        if len(request) != NONCE:
            raise Refused(f"the server sends {len(request)} octets")
        name, theirs, mine = begin.identity, request, os.urandom(NONCE)
        request = yield mine + proof(self.word, b"client", name, theirs, mine)
        if request is None or not hmac.compare_digest(request, proof(self.word, b"server", name, theirs, mine)):
            raise Refused("the server has not shown that it knows the word")
        if (yield b"") is not None:
            raise Refused("the server asks when all was said")
        return Success(msk=proof(self.word, b"key", name, theirs, mine))


if __name__ == "__main__":
    serve(Word())
