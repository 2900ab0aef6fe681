// A page in headless Chromium: sorts, filters, keyboard, paper, console, accessibility. Prints what it saw as JSON.
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
const [url, scheme, width, picture] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
const context = await browser.newContext({ viewport: { width: Number(width), height: 900 }, colorScheme: scheme })
const page = await context.newPage()
const told = { console: [], requests: 0 }
page.on('console', message => told.console.push(message.text()))
page.on('pageerror', error => told.console.push(error.message))
page.on('dialog', dialog => { told.console.push(dialog.message()); dialog.dismiss() })
page.on('request', () => told.requests++)
await page.goto(url)

// what is in sight of a column, and the order that its table says it has
const column = (table, number) => page.$$eval(`#table-${table} tbody tr:not(.filler)`, (rows, number) => rows.map(row => row.children[number].textContent), number)
const heading = (table, text) => page.locator(`#table-${table} thead button`, { hasText: text })
const number = async (table, text) => (await page.$$eval(`#table-${table} thead button`, found => found.map(one => one.textContent))).findIndex(one => one.startsWith(text))
told.title = await page.title()
told.heading = await page.textContent('h1')
told.hosts = await column('hosts', 0)
told.scripts = await page.evaluate(() => document.scripts.length)
const at = await number('vms', 'static_max')
await heading('vms', 'static_max').click()
told.largest = await column('vms', at)
told.sort = await page.getAttribute(`#table-vms thead th:nth-child(${at + 1})`, 'aria-sort')
await heading('vms', 'static_max').focus()
await page.keyboard.press('Enter')
told.smallest = await column('vms', at)
await page.fill('#table-vms input', 'running static_max>16GiB')
told.filtered = await page.textContent('#table-vms output')
told.states = [...new Set(await column('vms', await number('vms', 'state')))]
told.amounts = await column('vms', at)
await page.fill('#table-vms input', 'no VM has such a name')
told.none = await column('vms', 0)
await page.fill('#table-vms input', '')

// the last row comes by keyboard alone
await page.focus('#table-vms .scroll')
await page.keyboard.press('End')
await page.waitForTimeout(400)
told.last = (await column('vms', at)).at(-1)
told.rows = await page.getAttribute('#table-vms table', 'aria-rowcount')
told.inDocument = await page.locator('#table-vms tbody tr').count()

// how long a sort and a filter take until the document has the rows
told.slowest = await page.evaluate(() => {
  const table = document.querySelector('#table-vms'), filter = table.querySelector('input')
  let slowest = 0
  const timed = act => {
    const began = performance.now()
    act()
    table.querySelector('tbody').getBoundingClientRect()
    slowest = Math.max(slowest, performance.now() - began)
  }
  for (const button of table.querySelectorAll('thead button')) for (let i = 0; i < 2; i++) timed(() => button.click())
  for (const text of ['a', 'web', 'running', 'static_max>16GiB', '']) timed(() => { filter.value = text; filter.dispatchEvent(new Event('input')) })
  return slowest
})
told.wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)

// accessibility; the rules about colour need what is painted
await page.evaluate(createRequire(import.meta.url)('axe-core').source)
const found = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
told.violations = found.violations.map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.target + ' ' + node.failureSummary).join('; ')}`)
told.passes = found.passes.length

await page.emulateMedia({ media: 'print', colorScheme: 'light' })
await page.evaluate(() => dispatchEvent(new Event('beforeprint')))
told.printed = await page.locator('#table-vms tbody tr').count()
await page.evaluate(() => dispatchEvent(new Event('afterprint')))
await page.emulateMedia({ media: 'screen', colorScheme: scheme })
if (picture) await page.screenshot({ path: picture, fullPage: true })
await browser.close()
console.log(JSON.stringify(told))
