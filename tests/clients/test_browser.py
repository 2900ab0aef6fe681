"""Headless Chromium: a page of another origin that calls the server, as XO Lite does."""

import http.server
import json
import re
import threading
from pathlib import Path

import pytest
from clients_at import Run
from servers import PASSWORD, USER, Served

pytestmark = [pytest.mark.slow, pytest.mark.client("Chromium", "Debian's")]

PAGE = """<!DOCTYPE html><body><pre id=out></pre><script type=module>
const call = async (method, params) => {
  const response = await fetch('URL/jsonrpc', {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 0, method, params }),
  })
  const answer = await response.json()
  return answer.error ?? answer.result
}
const out = {}
const session = await call('session.login_with_password', ['USER', 'PASSWORD'])
out.session = session.startsWith('OpaqueRef:')
out.vms = Object.keys(await call('VM.get_all_records', [session])).length
const [pool] = await call('pool.get_all', [session])
const token = await call('event.inject', [session, 'pool', pool])
out.events = (await call('event.from', [session, ['pool'], token, 5.001])).events.map(event => event.class)
out.failure = await call('VM.start', [session, 'x', false, false])
const start = Math.floor(Date.now() / 1000) - 60
const query = `start=${start}&host=true&json=true&session_id=${encodeURIComponent(session)}`
out.rows = (await (await fetch(`URL/rrd_updates?${query}`)).json()).data.length
document.getElementById('out').textContent = JSON.stringify(out)
</script>"""


def test_a_page_of_another_origin(server: Served, run: Run, tmp_path: Path) -> None:
    page = PAGE.replace("URL", server.url).replace("USER", USER).replace("PASSWORD", PASSWORD)

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        printed = run(
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"),
            *(f"--user-data-dir={tmp_path}", "--dump-dom", f"http://127.0.0.1:{site.server_address[1]}/"),
        )
        site.shutdown()
    found = re.search(r"<pre[^>]*>(.*)</pre>", printed)
    assert found is not None, printed
    told = json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert told == {
        "session": True,
        "vms": len(server.call("VM.get_all", server.log_in())),
        "events": ["pool"],
        "failure": {"code": 1, "message": "HANDLE_INVALID", "data": ["VM", "x"]},
        "rows": told["rows"],
    }
    assert told["rows"] > 0
