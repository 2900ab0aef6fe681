"""The metrics of a small pool in plain Python: records of XenAPI in, one number for each name and set of labels out.

Every VM is of type hvm and may run anywhere. Whatever is planned is enumerated. Imports nothing of xenmem, nor numpy.
"""

from itertools import combinations_with_replacement
from typing import Any

from twins import exhaustive, reference

NULL = "OpaqueRef:NULL"
Records = dict[str, dict[str, dict[str, Any]]]
Labels = frozenset[tuple[str, str]]
Values = dict[tuple[str, Labels], float]


class Pool:
    """The records by row, as numbers."""

    def __init__(self, records: Records) -> None:
        ((_, self.pool),) = records["pool"].items()
        self.refs = list(records["host"])
        self.hosts = list(records["host"].values())
        metrics = [records["host_metrics"][host["metrics"]] for host in self.hosts]
        self.total = [int(one["memory_total"]) for one in metrics]
        self.measured = [int(one["memory_free"]) for one in metrics]
        self.live = [one["live"] for one in metrics]
        self.able = [host["enabled"] and live for host, live in zip(self.hosts, self.live, strict=True)]
        self.vms = [vm for vm in records["VM"].values() if not vm.get("is_a_template")]
        self.at = [self._row(vm["resident_on"]) for vm in self.vms]
        self.coming_to = [self._row(vm.get("scheduled_to_be_resident_on", NULL)) for vm in self.vms]
        self.is_guest = [not vm.get("is_control_domain") for vm in self.vms]
        self.runs = [at >= 0 and guest for at, guest in zip(self.at, self.is_guest, strict=True)]
        self.overhead = [int(vm["memory_overhead"]) for vm in self.vms]

    def _row(self, ref: str) -> int:
        return -1 if ref == NULL else self.refs.index(ref)

    def amounts(self, policy: str) -> list[int]:
        return [int(vm[f"memory_{policy}"]) for vm in self.vms]

    def left(self, policy: str) -> list[int]:
        """What each host has left, below 0 where it is overcommitted."""
        found = []
        for host, record in enumerate(self.hosts):
            left = self.total[host] - int(record["memory_overhead"])
            for vm, amount in enumerate(self.amounts(policy)):
                left -= ((self.at[vm] == host) + (self.coming_to[vm] == host)) * (amount + self.overhead[vm])
            found.append(left)
        return found

    def to_start(self, vm: int, policy: str) -> int:
        record = self.vms[vm]
        static_max, target = int(record["memory_static_max"]), int(record[f"memory_{policy}"])
        return sum(reference.required_memory("hvm", static_max, target, int(record["VCPUs_max"]), 1.0))


def accounted(records: Records) -> Values:
    """What follows from the records without any search."""
    pool, found = Pool(records), dict[tuple[str, Labels], float]()
    common = {"pool_uuid": pool.pool["uuid"], "pool_name": pool.pool["name_label"]}

    def put(name: str, value: float, host: int = -1, **labels: str) -> None:
        own = {} if host < 0 else {"uuid": pool.hosts[host]["uuid"], "host_name": pool.hosts[host]["name_label"]}
        found[f"xenmem_{name}", frozenset({**common, **own, **labels}.items())] = value

    for policy in reference.POLICIES:
        left = pool.left(policy)
        for host, amount in enumerate(left):
            put("host_memory_free_bytes", max(0, amount), host, policy=policy)
            put("host_memory_overcommitted_bytes", max(0, -amount), host, policy=policy)
        put(
            "pool_memory_free_bytes",
            sum(max(0, x) for x, able in zip(left, pool.able, strict=True) if able),
            policy=policy,
        )
    for host, record in enumerate(pool.hosts):
        put("host_memory_total_bytes", pool.total[host], host)
        put("host_memory_measured_free_bytes", pool.measured[host], host)
        put("host_enabled", record["enabled"], host)
        put("host_live", pool.live[host], host)
        kinds = dict.fromkeys(("control_domain", "vm", "vm_overhead", "migrating"), 0)
        kinds["host_overhead"] = int(record["memory_overhead"])
        for vm, amount in enumerate(pool.amounts("dynamic_min")):
            first = pool.at[vm] if pool.at[vm] >= 0 else pool.coming_to[vm]
            if first == host and not pool.is_guest[vm]:
                kinds["control_domain"] += amount + pool.overhead[vm]
            elif first == host:
                kinds["vm"] += amount
                kinds["vm_overhead"] += pool.overhead[vm]
            if pool.at[vm] >= 0 and pool.coming_to[vm] == host:
                kinds["migrating"] += amount + pool.overhead[vm]
        for kind, value in kinds.items():
            put("host_memory_reserved_bytes", value, host, kind=kind)
        for state in ("running", "paused"):
            there = [vm for vm in range(len(pool.vms)) if pool.runs[vm] and pool.at[vm] == host]
            put("host_vms", sum(pool.vms[vm]["power_state"].lower() == state for vm in there), host, state=state)
    put(
        "pool_empty_hosts",
        sum(not any(at == h and r for at, r in zip(pool.at, pool.runs, strict=True)) for h in range(len(pool.hosts))),
    )
    put("pool_ha_failures_to_tolerate", int(pool.pool["ha_host_failures_to_tolerate"]))
    put("pool_ha_overcommitted", pool.pool["ha_overcommitted"])
    return found


def fitting(records: Records, memory: int, vcpus: int) -> Values:
    """How many VMs of a size start one after the other, what is left then, and the largest that starts."""
    pool, found = Pool(records), dict[tuple[str, Labels], float]()
    common = {"pool_uuid": pool.pool["uuid"], "pool_name": pool.pool["name_label"]}
    required = sum(reference.required_memory("hvm", memory, memory, vcpus, 1.0))
    used = memory + reference.overhead("hvm", memory, vcpus, 1.0)
    count = stranded = 0
    for host, left in enumerate(pool.left("dynamic_min")):
        own = {"uuid": pool.hosts[host]["uuid"], "host_name": pool.hosts[host]["name_label"]}
        labels = common | own | {"vcpus": str(vcpus), "domain_type": "hvm"}
        able = pool.able[host] and vcpus <= int(pool.hosts[host]["cpu_info"]["cpu_count"])
        largest = 0
        while able and sum(reference.required_memory("hvm", *[largest + reference.MIB] * 2, vcpus, 1.0)) <= left:
            largest += reference.MIB
        found["xenmem_host_largest_vm_bytes", frozenset(labels.items())] = largest
        while able and left >= required:
            left -= used
            count += 1
        stranded += max(0, left) if able else 0
    size = {"size": f"{memory // reference.MIB}MiB"}
    found["xenmem_pool_stranded_bytes", frozenset((common | size).items())] = stranded
    fit = common | size | {"vcpus": str(vcpus), "failures": "0"}
    found["xenmem_pool_vms_fit", frozenset(fit.items())] = count
    return found


def restarts(records: Records, policy: str, *, ha: bool) -> exhaustive.Pool:
    """What is left on the hosts that take VMs, and the VMs that are to run again, with their hosts."""
    pool = Pool(records)
    places = {host: place for place, host in enumerate(host for host, able in enumerate(pool.able) if able)}
    wanted = [
        vm
        for vm, record in enumerate(pool.vms)
        if (record.get("ha_always_run") and record.get("ha_restart_priority") == "restart" if ha else pool.runs[vm])
    ]
    left = pool.left(policy)
    return (
        [left[host] for host in places],
        [pool.to_start(vm, policy) for vm in wanted],
        [places.get(pool.at[vm], places.get(pool.coming_to[vm], -1)) for vm in wanted],
    )


def survivable(plain: exhaustive.Pool) -> int:
    """The most hosts that may fail; -1 if not all can run even now."""
    numbers = [exhaustive.survives_together(plain, n) for n in range(len(plain[0]) + 1)]
    return numbers.index(False) - 1 if False in numbers else len(plain[0])


def margin(plain: exhaustive.Pool, n: int) -> int | None:
    """The most MiB that every host could lose, in bytes; by bisection, as less memory never helps."""
    free, size, host = plain
    low, high = -sum(size) - 1 - max(0, -min(free)), max(free) + 1
    low, high = low // reference.MIB, high // reference.MIB + 1

    def survives(less: int) -> bool:
        return exhaustive.survives_together(([room - less * reference.MIB for room in free], size, host), n)

    if survives(high) or not survives(low):
        return None
    return reference.bisect(survives, low, high) * reference.MIB


def fit_beside(plain: exhaustive.Pool, required: int, n: int) -> int:
    """How many VMs fit, wherever they start, while all still run again after n failures."""
    free, size, host = plain
    count = 0
    while any(
        exhaustive.survives_together(
            (
                [room - where.count(at) * required for at, room in enumerate(free)],
                size + [required] * len(where),
                host + list(where),
            ),
            n,
        )
        for where in combinations_with_replacement(range(len(free)), count + 1)
        if all(room >= where.count(at) * required for at, room in enumerate(free) if at in where)
    ):
        count += 1
    return count


def evacuable(records: Records, host: int) -> bool:
    """Whether the guests of a host find places, others moved as well if need be; of VMs that do not balloon."""
    pool = Pool(records)
    others = [other for other in range(len(pool.hosts)) if pool.able[other] and other != host]
    moving = [vm for vm in range(len(pool.vms)) if pool.runs[vm] and (pool.at[vm] == host or pool.at[vm] in others)]
    holes = pool.left("dynamic_min")
    for vm in moving:
        holes[pool.at[vm]] += int(pool.vms[vm]["memory_dynamic_min"]) + pool.overhead[vm]
    return exhaustive.fits_by_states(
        [pool.to_start(vm, "dynamic_min") for vm in moving], [holes[other] for other in others]
    )
