"""Logging in and out. Source: docs/reference/messages.md, 9.4 (xapi-project/xen-api, ocaml/xapi/xapi_session.ml)."""

from xenmem.datamodel.errors import SESSION_AUTHENTICATION_FAILED, SESSION_INVALID
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import SessionRef, String, message


@message("session", errors=(SESSION_AUTHENTICATION_FAILED,))
def login_with_password(
    call: Call, uname: String, pwd: String, version: String = "1.1", originator: String = ""
) -> SessionRef:
    """Log in; the version is ignored."""
    return call.world.sessions.log_in(uname, pwd, originator)


@message("session", errors=(SESSION_AUTHENTICATION_FAILED,))
def slave_local_login_with_password(call: Call, uname: String, pwd: String) -> SessionRef:
    """Log in to this host alone."""
    return call.world.sessions.log_in(uname, pwd, is_local=True)


@message("session", errors=(SESSION_INVALID,))
def logout(call: Call) -> None:
    """End the session."""
    call.world.sessions.log_out(call.login.ref)


@message("session", errors=(SESSION_INVALID,))
def local_logout(call: Call) -> None:
    """End a session of this host alone."""
    call.world.sessions.log_out(call.login.ref)


@message("session", errors=(SESSION_AUTHENTICATION_FAILED,))
def change_password(call: Call, old_pwd: String, new_pwd: String) -> None:
    """Take another password of who is logged in from now on: until the users are read anew, where a file has them."""
    call.world.sessions.change_password(call.login.user, old_pwd, new_pwd)
