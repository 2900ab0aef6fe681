// npm's xen-api: connects, reads all objects, follows events, calls, tasks, files, and comes back after its session ends.
import { createRequire } from 'node:module'
const [url, user, password, transport] = process.argv.slice(2)
const { createClient } = await import(createRequire(process.cwd() + '/x.js').resolve('xen-api'))
const xapi = createClient({ url, auth: { user, password }, allowUnauthorized: true, transport })
const warnings = []
console.warn = (...words) => warnings.push(words.map(String).join(' '))
await xapi.connect()
await xapi.objectsFetched
const objects = Object.values(xapi.objects.all)
const types = {}
for (const object of objects) types[object.$type] = (types[object.$type] ?? 0) + 1
const pool = xapi.pool
const changed = new Promise(resolve => xapi.objects.on('update', updated => pool.$id in updated && resolve()))
await xapi.call('pool.add_to_other_config', pool.$ref, 'xen-api', 'was here')
await changed
const seen = xapi.pool.other_config['xen-api']
await xapi.call('pool.remove_from_other_config', pool.$ref, 'xen-api')
await xapi.barrier()
const vm = objects.find(o => o.$type === 'VM' && o.power_state === 'Halted' && !o.is_a_snapshot)
const clone = await xapi.callAsync('VM.clone', vm.$ref, 'copy by xen-api')
await xapi.barrier(clone)
const name = xapi.getObjectByRef(clone).name_label
let failure
try {
  await xapi.callAsync('VM.start', 'OpaqueRef:none', false, false)
} catch (error) {
  failure = [error.code, ...error.params]
}
const text = async (path, query) => {
  const response = await xapi.getResource(path, { query })
  return await (response.body ?? response).text()
}
const updates = JSON.parse(await text('/rrd_updates', { start: Math.floor(Date.now() / 1000) - 60, json: true, host: true, cf: 'AVERAGE' }))
const dump = await text('/pool/xmldbdump', {})
await xapi.call('VM.destroy', clone)
const before = xapi.sessionId
await fetch(`${url}jsonrpc`, { method: 'POST', body: JSON.stringify({ id: 0, jsonrpc: '2.0', method: 'session.logout', params: [before] }) })
const rows = await xapi.call('VM.get_all')
console.log(JSON.stringify({ types, seen, name, failure, legend: updates.meta.legend.length, rows: updates.data.length, dump: dump.slice(0, 60), again: rows.length > 0 && xapi.sessionId !== before, warnings }))
await xapi.disconnect()
process.exit(0)
