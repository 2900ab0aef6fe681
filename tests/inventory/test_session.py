"""Fleet.from_session with the real XenAPI client over a real socket, against a server that answers as xapi does."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCServer

import pytest
import XenAPI

import xenmem
from xenmem import Fleet, InventoryError

Records = dict[str, dict[str, dict[str, Any]]]


class Server(SimpleXMLRPCServer):
    """Answers get_all_records from records, in xapi's envelope; all other calls are unknown."""

    def __init__(self, records: Records) -> None:
        super().__init__(("127.0.0.1", 0), logRequests=False, allow_none=True)
        self.records = records
        self.calls: list[str] = []

    def _dispatch(self, method: str, params: Any) -> dict[str, Any]:
        self.calls.append(method)
        if method == "session.login_with_password":
            return {"Status": "Success", "Value": "OpaqueRef:session"}
        name, _, message = method.partition(".")
        if message == "get_all_records" and name in self.records and params == ("OpaqueRef:session",):
            return {"Status": "Success", "Value": self.records[name]}
        return {"Status": "Failure", "ErrorDescription": ["MESSAGE_METHOD_UNKNOWN", method]}


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    records = json.loads((data / "inventories" / "pool-small.records.json").read_text())
    with Server(records) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def session(server: Server) -> Iterator[XenAPI.Session]:
    session = XenAPI.Session(f"http://127.0.0.1:{server.server_address[1]}", allow_none=True)
    session.xenapi.login_with_password("root", "secret")
    yield session
    session("close")()


def test_a_live_pool_is_the_same_as_its_records(data: Path, server: Server, session: XenAPI.Session) -> None:
    live = Fleet.from_session(session)
    stored = xenmem.read(data / "inventories" / "pool-small.records.json")
    assert live.vms.ref.tolist() == stored.vms.ref.tolist()
    assert live.free_memory().tolist() == stored.free_memory().tolist()
    assert live.start_memory().tolist() == stored.start_memory().tolist()
    assert live.pools.source.tolist() == ["session"]
    assert {call for call in server.calls if not call.endswith(".get_all_records")} == {"session.login_with_password"}


def test_a_server_without_vm_groups(server: Server, session: XenAPI.Session) -> None:
    del server.records["VM_group"]
    for record in server.records["VM"].values():
        del record["groups"]
    assert len(Fleet.from_session(session).vm_groups) == 0
    del server.records["host"]
    with pytest.raises(XenAPI.Failure, match="MESSAGE_METHOD_UNKNOWN"):
        Fleet.from_session(session)


def test_a_bad_record(server: Server, session: XenAPI.Session) -> None:
    next(iter(server.records["VM"].values()))["VCPUs_max"] = "two"
    with pytest.raises(InventoryError, match=r"session: VM \S+: VCPUs_max: 'two' is not an integer"):
        Fleet.from_session(session)
    assert len(Fleet.from_session(session, lenient=True).vms) == 60
