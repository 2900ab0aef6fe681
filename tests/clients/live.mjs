// The live page of a server in headless Chromium: it is asked, a change comes to it, and axe-core looks at both.
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
const [url, username, password, picture, width = '1280', scheme = 'light'] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
const context = await browser.newContext({ httpCredentials: { username, password }, viewport: { width: Number(width), height: 900 }, colorScheme: scheme })
const page = await context.newPage()
page.setDefaultTimeout(120000)
const told = { console: [] }
page.on('console', message => told.console.push(message.text()))
page.on('pageerror', error => told.console.push(error.message))
await page.goto(url)
const row = async (table, number) => page.$$eval(`#table-${table} tbody tr:not(.filler)`, (rows, number) => rows.map(row => row.children[number].textContent), number)
told.hosts = await page.$$eval('#fail option', options => options.map(option => option.textContent))

await page.click('#ask')
await page.waitForFunction(() => document.querySelector('#told').textContent.startsWith('nothing'))
told.nothing = await page.textContent('#told')

await page.selectOption('#fail', { label: told.hosts[0] })
await page.fill('#memory', '1GiB')
await page.click('#ask')
await page.waitForSelector('#table-moves')
told.verdicts = await page.$$eval('#answer .verdict', found => found.map(one => one.textContent))
told.moves = await row('moves', 1)
await page.fill('#table-moves input', 'new')
told.added = await row('moves', 0)

const axe = async () => {
  const found = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
  return found.violations.map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.target + ' ' + node.failureSummary).join('; ')}`)
}
await page.evaluate(createRequire(import.meta.url)('axe-core').source)
told.violations = await axe()
if (picture) await page.screenshot({ path: picture, fullPage: true })

const call = async (method, ...params) => (await (await context.request.post(`${url}/jsonrpc`, { data: { jsonrpc: '2.0', id: 0, method, params } })).json()).result
const session = await call('session.login_with_password', username, password)
const [host] = await call('host.get_by_name_label', session, told.hosts[0])
await call('host.set_name_label', session, host, 'another name')
await page.waitForFunction(() => document.querySelector('#summary').textContent.includes('another name'))
told.renamed = (await row('hosts', 0)).includes('another name')
told.chosen = await page.$$eval('#fail option', options => options.filter(option => option.selected).map(option => option.textContent))
await call('host.set_name_label', session, host, told.hosts[0])
told.live = await page.textContent('#live')
await browser.close()
console.log(JSON.stringify(told))
