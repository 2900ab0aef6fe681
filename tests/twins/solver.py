"""The packing questions as integer programs for HiGHS, a solver library: what the planners' exact answers must equal.

Plain lists in, a number out, None if not all VMs can be placed. Imports nothing of xenmem. Sizes are small integers.
"""

from collections.abc import Sequence

import highspy


def best(
    sizes: Sequence[int],
    free: Sequence[int],
    objective: str,
    *,
    allowed: Sequence[Sequence[bool]] | None = None,
    groups: Sequence[Sequence[int]] = (),
    same_host: Sequence[Sequence[int]] = (),
    origin: Sequence[int] | None = None,
    weights: Sequence[int] | None = None,
    copied: Sequence[int] | None = None,
) -> int | None:
    """The best value: weight placed, hosts in use, memory left on the fullest host, or the price of the migrations.

    A migration costs 1, or 1000 and what it copies; the sum of `copied` is below 1000.
    """
    vms, hosts = range(len(sizes)), range(len(free))
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    model.setOptionValue("mip_rel_gap", 0.0)
    on = [[model.addBinary() if allowed is None or allowed[vm][host] else None for host in hosts] for vm in vms]
    zero = model.addVariable(0, 0)
    for vm in vms:
        places = sum((x for x in on[vm] if x is not None), zero)
        model.addConstr(places <= 1 if objective == "all" else places == 1)
    loads = [sum((sizes[vm] * on[vm][h] for vm in vms if on[vm][h] is not None), 1 * zero) for h in hosts]
    for group in groups:
        for host in hosts:
            model.addConstr(sum((on[vm][host] for vm in group if on[vm][host] is not None), zero) <= 1)
    for group in same_host:
        for host in hosts:
            for vm in group[1:]:
                first = zero if on[group[0]][host] is None else on[group[0]][host]
                other = zero if on[vm][host] is None else on[vm][host]
                model.addConstr(first - other == 0)
    if objective == "fewest-hosts":
        opened = [model.addBinary() for _ in hosts]
        for host in hosts:
            model.addConstr(loads[host] - max(free[host], 0) * opened[host] <= 0)
        cost = sum(opened, 1 * zero)
    elif objective == "even":
        level = model.addVariable(-1e6, min(free))
        for host in hosts:
            model.addConstr(loads[host] + level <= free[host])
            model.addConstr(loads[host] <= max(free[host], 0))
        cost = -1 * level
    else:
        for host in hosts:
            model.addConstr(loads[host] <= max(free[host], 0))
        if objective == "all":
            value = weights or [1] * len(sizes)
            cost = sum((-value[vm] * x for vm in vms for x in on[vm] if x is not None), 1 * zero)
        else:
            assert origin is not None
            price = [1 if copied is None else 1000 + copied[vm] for vm in vms]
            cost = sum(
                (
                    price[vm] * x
                    for vm in vms
                    for h, x in enumerate(on[vm])
                    if x is not None and origin[vm] not in (-1, h)
                ),
                1 * zero,
            )
    model.minimize(cost)
    if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    found = round(model.getObjectiveValue())
    return -found if objective in ("all", "even") else found
