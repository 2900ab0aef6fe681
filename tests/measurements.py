"""Figures that others measured or read off live hosts, with their sources: what the model has to reproduce.

Amounts are MiB or pages of 4 KiB, as the names say. Imports nothing.
"""

OBSERVED_OVERHEAD_MIB = [
    # memory_mib, vCPUs, overhead_mib; pv or hvm, which of the two the source does not say
    (256.0, 1, 4),
    (512.0, 1, 6),
    (512.0, 1, 7),
    (1024.0, 1, 10),
    (1024.0, 1, 11),
    (2048.0, 1, 19),
    (1508.39562988, 2, 15),
    (2048.0, 2, 19),
    (2048.0, 2, 20),
    (3895.72839355, 2, 34),
    (3972.02233887, 2, 35),
    (4048.31628418, 2, 35),
    (4057.85302734, 2, 36),
    (4072.0, 2, 35),
    (4073.77954102, 2, 35),
    (4086.0, 2, 36),
    (4096.0, 2, 35),
    (4096.0, 2, 36),
    (512.0, 4, 9),
    (1024.0, 4, 13),
    (1024.0, 4, 14),
    (4096.0, 4, 37),
    (4096.0, 4, 38),
    (8192.0, 4, 69),
    (8192.0, 4, 70),
    (15360.0, 4, 125),
]
"""VM.memory_overhead of 26 VMs of a public cloud, model pre-26.3. Source: OpenStack wiki, page XenServer/Overhead."""

STORED_OVERHEAD = [
    # domain_type, memory_mib, vCPUs, multiplier, bytes, source
    ("hvm", 1024, 1, 1.0, 11_534_336, "a VM record of XCP-ng 8.2 in a public Python docstring"),
    ("hvm", 8192, 2, 1.0, 71_303_168, "xen-api, sdk-gen/component-test/spec/xapi-24/vm_get_all_records.json"),
]
"""VM.memory_overhead as servers with model pre-26.3 stored it."""

# fmt: off
PAGES_OF_VCPUS = {
    1: [264, 558, 776, 1032, 1350, 1614, 1878, 2056, 2406, 2670, 2934, 3198, 3462, 3726, 3990, 4254, 4518, 4782, 5046,
        5310, 5574, 5838, 6102, 6366, 6630, 6894, 7158, 7422, 7686, 7952, 8216, 8480, 8744, 9009, 9276, 9543, 9810,
        10076, 10340, 10604, 10869, 11133, 11397, 11662, 11925, 12191, 12454],
    0: [30, 294, 558, 822, 1086, 1350, 1614, 1878, 2142, 2406, 2670, 2934, 3198, 3462, 3726, 3990, 4254, 4518, 4782,
        5046, 5310, 5574, 5838, 6102, 6366, 6630, 6894, 7158, 7422, 7686, 7952, 8216, 8480, 8744, 9011, 9278, 9546,
        9811, 10076, 10340, 10603, 10869, 11132, 11397, 11663, 11925, 12191, 12456],
}
# fmt: on
"""Pages that Xen took for a VM of so many vCPUs: two series, the first of which begins with 1 vCPU, the second with 0.

Source: xapi-project/xen-api, the measurements published with the change that added 38 pages per vCPU (v26.3.0).
"""
