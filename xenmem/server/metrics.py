"""The text of /metrics, as Prometheus reads it. Names of messages and codes only: nothing that clients can make up."""

from collections.abc import Iterable

from xenmem import exposition
from xenmem.exposition import Family, Sample
from xenmem.server.http import Traffic
from xenmem.server.rpc import Endpoint


def text(traffic: Traffic, endpoints: Iterable[tuple[str, Endpoint]]) -> str:
    """What is counted.

    Parameters
    ----------
    traffic : of the server
    endpoints : by the uuid of the pool
    """
    served = list(endpoints)
    families = [
        Family("xenmem_connections", "Open connections.", [Sample({}, len(traffic.connections))]),
        Family(
            "xenmem_http_answers_total",
            "Answers by HTTP status.",
            [Sample({"status": str(status)}, count) for status, count in sorted(traffic.answers.items())],
            "counter",
        ),
        Family(
            "xenmem_messages_total",
            "Messages by their name and how they ended.",
            [
                Sample({"pool": pool, "message": message, "result": result}, count)
                for pool, endpoint in served
                for (message, result), count in sorted(endpoint.counts.items())
            ],
            "counter",
        ),
        Family(
            "xenmem_waiting_clients",
            "Clients that wait for events.",
            [Sample({"pool": pool}, len(endpoint.hub)) for pool, endpoint in served],
        ),
        Family(
            "xenmem_sessions",
            "Sessions that are logged in.",
            [Sample({"pool": pool}, len(endpoint.pool.database.session)) for pool, endpoint in served],
        ),
        Family(
            "xenmem_generation",
            "Changes of the database.",
            [Sample({"pool": pool}, endpoint.pool.database.generation) for pool, endpoint in served],
            "counter",
        ),
    ]
    return exposition.text(families, openmetrics=False)
