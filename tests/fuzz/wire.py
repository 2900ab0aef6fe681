"""Bodies of XML-RPC and JSON-RPC that nobody should send: refused, or answered by a body of bounded length."""

import json
from random import Random
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from fuzz import calls
from fuzz.inventories import damaged

from xenmem.datamodel.errors import CODES
from xenmem.xenapi.door import wire

LIFE = 300
"""Bodies that a pool gets."""
METHODS = (
    "",
    "VM",
    "VM.",
    ".get_all",
    "Async.",
    "VM.fly",
    "system.listMethods",
    "system.isAlive:",
    "\x00",
    "VM_start",
    "é",
)


class Fuzzer:
    """Sends bodies to one pool after the other."""

    def __init__(self) -> None:
        self.body = b""

    def example(self) -> bytes:
        """The last body."""
        return self.body

    def run(self, random: Random) -> int:
        """The life of a pool; how many bodies it got."""
        pool = calls.pool(random)
        session = pool.log_in("root", "")
        for _ in range(LIFE):
            message, method, sent = calls.call(random, pool.database)
            if random.random() < 0.05:
                method = random.choice(METHODS)
            if message.has_session:
                sent = [session, *sent]
            if random.random() < 0.5:
                self.body = as_xml(random, method, sent)
                answer = wire.answer_xml
            else:
                self.body = as_json(random, method, sent)
                answer = wire.answer_json
            if random.random() < 0.6:
                self.body = damaged(random, self.body)
            refusal = ""
            try:
                body = answer(pool, self.body)
            except wire.WireError as error:
                refusal = str(error)
            assert len(refusal) < 2000
            if not refusal:
                check(body, is_xml=answer is wire.answer_xml)
        return LIFE


def check(body: bytes, *, is_xml: bool) -> None:
    """An answer can be read, and a failure has a code of the API."""
    if is_xml:
        names = [one.text for one in ElementTree.fromstring(body).iter("name")]
        assert names[:1] in ([], ["Status"], *([name] for name in names)), names
        return
    answer = json.loads(body)
    error = answer.get("error")
    if error is not None:
        code = error["message"] if isinstance(error, dict) else error[0]
        assert code in CODES, code


def as_xml(random: Random, method: str, sent: list[Any]) -> bytes:
    """A call in XML-RPC; integers typed or not."""
    params = "".join(f"<param>{_xml(random, one)}</param>" for one in sent)
    return f"<methodCall><methodName>{escape(method)}</methodName><params>{params}</params></methodCall>".encode(
        "utf-8", "surrogatepass"
    )


def _xml(random: Random, entry: Any) -> str:
    match entry:
        case None:
            return "<value><nil/></value>"
        case bool():
            return f"<value><boolean>{entry:d}</boolean></value>"
        case int():
            return random.choice(
                ("<value><int>{}</int></value>", "<value>{}</value>", "<value><i8>{}</i8></value>")
            ).format(entry)
        case float():
            return f"<value><double>{entry}</double></value>"
        case list():
            return f"<value><array><data>{''.join(_xml(random, one) for one in entry)}</data></array></value>"
        case dict():
            members = (
                f"<member><name>{escape(str(key))}</name>{_xml(random, one)}</member>" for key, one in entry.items()
            )
            return f"<value><struct>{''.join(members)}</struct></value>"
        case _:
            return f"<value><string>{escape(str(entry))}</string></value>"


def as_json(random: Random, method: str, sent: list[Any]) -> bytes:
    """A call in JSON-RPC, of one version or the other."""
    request: dict[str, Any] = {"method": method, "params": sent, "id": random.choice((1, "a", -5))}
    if random.random() < 0.5:
        request["jsonrpc"] = "2.0"
    return json.dumps(request, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
