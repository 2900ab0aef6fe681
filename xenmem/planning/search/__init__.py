"""How plans are found: for every question the searches that are tried in turn, and the proof that ends them.

Every search works on a `Problem` (problem.py): one pool of a Question, in which VMs that share a host are one item.
What is compiled stands in compiled/, in files of the same names, and runs as engine.py says; the rest decides what to
try, and for how long.

    planner, objective         searches, in this order                           what proves
    -------------------------  ------------------------------------------------  ------------------------------------
    pack `all`                 greedy: stay, best and worst fit (first_fit)      homeless, crowded_group, oversized,
                               exact.place_all: triplets where hosts hold three  hosts_needed (bounds); branch and
                               each; local search (repack), branch and bound     bound that comes to its end; Cutting's
                               (branching), dives of Cutting in turns            bound; for VMs left out, place_most
    pack `fewest-hosts`        place_all on the roomiest hosts: at the bound,    hosts_needed; Cutting's bound: dual
                               then one less than the best, in turns with dives  values of patterns; so many hosts, on
                               of Cutting; where not memory alone decides,       which place_all is excluded; branching
                               branching
    pack `even`                place_all with a level of free memory on every    least_free; a level on which place_all
                               host, by bisection                                is excluded; branching
    pack `fewest-migrations`   fewest_moves: home what can go home, exact over   fewest_at_least; branching
                               few hosts at a time, branching
    evacuate                   displaced.fewest_displaced of the VMs of the      displaced_bound: prices of holes,
                               host, others where they are; where they have to   units, and the complete search of
                               move as well, of all; last as `fewest-migrations` displace; NEVER: too little room
    consolidate                empty the lightest host as long as place_all      hosts_needed; for the migrations, the
                               finds room for its VMs; then `fewest-hosts`;      lightest sets of hosts, in order, and
                               then fewest_displaced for the lightest sets       what each displaces at least
    rebalance                  levels of free memory, by bisection: from fuller  fewest_leaving: how many VMs have to
                               hosts the fewest VMs leave, fewest_displaced;     leave at a level; every_way
                               place_all and fewest_moves thrice; leveling:      of leveling, which comes to its end
                               all ways with few moves, then moves that bring
                               hosts nearer together
    order of migrations        migrations.in_order: rules and detours, thirty    every arrangement seen: no order of
                               times; then every arrangement, the nearest first  these ends exists
    failover together          failures/together: rules and bounds for families  failure_sets.weights; feasibility and
                               of sets; then feasibility, set by set             patterns (dual values) for one set
    rolling_update             updating/walk by rules, with fewest_displaced;    obstacles; least_copied; updating/
                               updating/sequences for small pools                sequences come to its end

Numbers mean: a bound or a proof is of the model that the search is given. Where admission asks for more than a VM then
uses (`need` above `used`), planners give searches the larger size, and believe proofs of the smaller one only.
"""
