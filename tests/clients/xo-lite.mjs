// The transport of XO Lite, json-rpc-2.0 over fetch, and its calls in their order.
import { createRequire } from 'node:module'
const [url, user, password] = process.argv.slice(2)
const { JSONRPCClient } = createRequire(process.cwd() + '/x.js')('json-rpc-2.0')
const client = new JSONRPCClient(async request => {
  const response = await fetch(`${url}/jsonrpc`, { method: 'POST', body: JSON.stringify(request), headers: { 'content-type': 'application/json' } })
  if (response.status !== 200) throw new Error(response.statusText)
  client.receive(await response.json())
})
const session = await client.request('session.login_with_password', [user, password])
const subjects = await client.request('session.get_all_subject_identifiers', [session])
const counts = {}
for (const type of ['pool', 'host', 'VM', 'SR', 'VDI', 'VBD', 'VIF', 'network', 'PIF', 'PBD', 'host_metrics', 'VM_guest_metrics', 'message', 'task']) {
  counts[type] = Object.keys(await client.request(`${type}.get_all_records`, [session])).length
}
const [pool] = await client.request('pool.get_all', [session])
const token = await client.request('event.inject', [session, 'pool', pool])
const { events } = await client.request('event.from', [session, ['pool', 'vm'], token, 5.001])
const vms = Object.entries(await client.request('VM.get_all_records', [session]))
const [vm, record] = vms.find(([, vm]) => vm.power_state === 'Halted' && !vm.is_a_template && !vm.is_a_snapshot)
await client.request('VM.set_memory_limits', [session, vm, 1 << 29, 1 << 29, 1 << 29, 1 << 29].map(x => x)).catch(() => {})
const outOfSession = await client.request('session.get_all_subject_identifiers', ['OpaqueRef:gone']).catch(error => [error.code, error.message, error.data])
const nothing = await client.request('session.logout', [session])
console.log(JSON.stringify({ subjects, counts, events: events.map(event => event.class), shadow: record.HVM_shadow_multiplier, outOfSession, nothing }))
