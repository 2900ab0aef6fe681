// The tables of the page: sorted and filtered over columns, with only the rows that are in sight in the document.
'use strict'
const page = (() => {
  const ROW = 32, MARGIN = 6, PRINTED = 1000
  const UNITS = [['TiB', 2 ** 40, 10 * 2 ** 40], ['GiB', 2 ** 30, 2 ** 30], ['MiB', 2 ** 20, 2 ** 20], ['KiB', 1024, 1024], ['B', 1, 0]]
  const FACTORS = { '': 1, b: 1, k: 1024, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }
  const CONDITION = /^([a-z_]+)(>=|<=|>|<|=)(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
    made.append(...children)
    return made
  }

  const decodeUuids = packed => {
    const bytes = Uint8Array.from(atob(packed), one => one.charCodeAt(0))
    const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
    const found = new Array(bytes.length / 16)
    for (let row = 0, at = 0; row < found.length; row++) {
      let text = ''
      for (let place = 0; place < 16; place++) text += (place === 4 || place === 6 || place === 8 || place === 10 ? '-' : '') + hex[bytes[at++]]
      found[row] = text
    }
    return found
  }

  // numbers of the words of each row, and how many there are; for values that have no words, by their order
  const ranked = (keys, rows) => {
    const order = Uint32Array.from({ length: rows }, (_, row) => row).sort((a, b) => keys[a] - keys[b])
    const ranks = new Uint32Array(rows)
    let rank = 0
    for (let place = 1; place < rows; place++) {
      if (keys[order[place]] !== keys[order[place - 1]]) rank++
      ranks[order[place]] = rank
    }
    return { ranks, count: rank + 1 }
  }

  // a column has `text(row)` to show and `ranks()` to sort by; of numbers also the amounts, -1 where unknown
  const read = (column, rows) => {
    const { kind, words } = column
    let { codes } = column
    if (typeof codes === 'string') codes = Uint8Array.from(codes, letter => letter.charCodeAt(0) - 97)
    let found
    const by = keys => found ??= ranked(keys(), rows)
    const known = { ranks: codes ?? Uint32Array.from({ length: rows }, (_, row) => row), count: words?.length ?? rows }
    if (column.packed !== undefined) {
      const texts = decodeUuids(column.packed)
      const keys = () => Float64Array.from(texts, text => parseInt(text.slice(0, 8) + text.slice(9, 13), 16))
      return { ...column, text: row => texts[row], ranks: () => by(keys), width: 36, isRight: false }
    }
    if (kind === 'text' || kind === 'uuid') {
      const longest = words.reduce((most, word) => Math.max(most, word.length), 4)
      return { ...column, text: row => words[known.ranks[row]], ranks: () => known, width: Math.min(longest, 34), isRight: false }
    }
    const amounts = new Float64Array(rows)
    let most = 0
    for (let row = 0; row < rows; row++) {
      const value = words ? words[known.ranks[row]] : column.values[row]
      amounts[row] = value < 0 ? -1 : value * column.unit
      if (amounts[row] > most) most = amounts[row]
    }
    const [unit, factor] = kind === 'size' ? UNITS.find(([, , from]) => most >= from) : ['', 1]
    const text = kind !== 'size' ? row => String(amounts[row]) : row => {
      if (amounts[row] < 0) return 'unknown'
      const shown = (amounts[row] / factor).toFixed(2)
      return amounts[row] && shown === '0.00' ? '<0.01' : shown
    }
    const width = Math.max(kind === 'size' ? (most / factor).toFixed(2).length : String(most).length, 7)
    const ranks = words ? () => known : () => by(() => amounts)
    return { ...column, amounts, text, ranks, width, isRight: true, shownUnit: most ? unit : '' }
  }

  class Table {
    constructor (data, place) {
      this.name = data.name
      this.noun = data.noun
      this.sorted = [0, 1]
      this.wanted = ''
      const title = `title-${data.name}`
      const count = this.count = make('output', { 'aria-live': 'polite', class: 'note' })
      const filter = this.filter = make('input', { type: 'search', autocomplete: 'off', spellcheck: 'false' })
      const hint = make('span', { class: 'note', id: `hint-${data.name}` })
      const example = data.columns.find(one => one.kind === 'size')
      hint.textContent = `words, and conditions such as ${example.key}>16GiB`
      filter.setAttribute('aria-describedby', hint.id)
      filter.addEventListener('input', () => { this.wanted = filter.value; this.select() })
      this.head = make('thead')
      this.body = make('tbody')
      this.cols = make('colgroup')
      this.table = make('table', { 'aria-labelledby': title }, this.cols, this.head, this.body)
      this.scroll = make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-labelledby': title }, this.table)
      this.scroll.addEventListener('scroll', () => requestAnimationFrame(() => this.draw()), { passive: true })
      const heading = make('h2', { id: title })
      heading.textContent = { pools: 'All pools', hosts: 'Hosts', vms: 'VMs', moves: 'What becomes of VMs' }[data.name]
      const label = make('label', {}, `Filter ${data.noun}s`, filter, hint)
      place.append(make('section', { id: `table-${data.name}` }, heading, make('div', { class: 'tools' }, label, count), this.scroll))
      this.load(data)
    }

    load (data) {
      this.rows = data.rows
      this.columns = data.columns.map(column => read(column, data.rows))
      this.haystack = undefined
      this.cols.replaceChildren(...this.columns.map(column => {
        const col = make('col')
        const heading = Math.max(...column.heading.split(/[ ,]+/).map(word => word.length), 3) + 2
        const width = Math.max(column.width, heading) + 2
        col.style.width = column === this.columns[0] ? `min(${width}ch, 42vw)` : `${width}ch`
        return col
      }))
      this.table.style.width = `calc(${Array.from(this.cols.children, col => col.style.width).join(' + ')})`
      this.head.replaceChildren(make('tr', {}, ...this.columns.map((column, at) => {
        const button = make('button', { type: 'button' })
        button.textContent = column.heading + (column.shownUnit ? ` (${column.shownUnit})` : '')
        button.addEventListener('click', () => this.sort(at))
        return make('th', { scope: 'col', ...(column.isRight ? { class: 'right' } : {}) }, button)
      })))
      this.select()
      // the first filter and the first sort need not wait for these
      window.requestIdleCallback?.(() => { this.haystack ??= this.gather() })
      for (const column of this.columns) window.requestIdleCallback?.(() => column.ranks())
    }

    sort (at) {
      const [before, direction] = this.sorted
      this.sorted = [at, at === before ? -direction : this.columns[at].isRight ? -1 : 1]
      this.order()
    }

    select () {
      const tests = this.wanted.toLowerCase().split(/\s+/).filter(Boolean).map(word => this.test(word))
      const found = new Uint32Array(this.rows)
      let length = 0
      for (let row = 0; row < this.rows; row++) if (tests.every(test => test(row))) found[length++] = row
      this.selected = found.subarray(0, length)
      this.count.textContent = length === this.rows ? `${length} ${this.noun}${length === 1 ? '' : 's'}` : `${length} of ${this.rows} ${this.noun}s`
      this.order()
    }

    test (word) {
      const condition = CONDITION.exec(word)
      const column = condition && this.columns.find(one => one.amounts && one.key.toLowerCase().startsWith(condition[1]))
      if (column) {
        const size = Number(condition[3]) * FACTORS[condition[4]], { amounts } = column
        switch (condition[2]) {
          case '>': return row => amounts[row] > size
          case '<': return row => amounts[row] >= 0 && amounts[row] < size
          case '>=': return row => amounts[row] >= size
          case '<=': return row => amounts[row] >= 0 && amounts[row] <= size
          default: return row => amounts[row] === size
        }
      }
      this.haystack ??= this.gather()
      return row => this.haystack[row].includes(word)
    }

    gather () {
      const texts = this.columns.filter(column => !column.amounts)
      const found = new Array(this.rows)
      for (let row = 0; row < this.rows; row++) {
        let all = ''
        for (const column of texts) all += column.text(row) + '\n'
        found[row] = all.toLowerCase()
      }
      return found
    }

    order () {
      const [at, direction] = this.sorted
      const { ranks, count } = this.columns[at].ranks()
      const rank = direction > 0 ? row => ranks[row] : row => count - 1 - ranks[row]
      const starts = new Uint32Array(count + 1)
      for (const row of this.selected) starts[rank(row) + 1]++
      for (let place = 1; place <= count; place++) starts[place] += starts[place - 1]
      this.shown = new Uint32Array(this.selected.length)
      for (const row of this.selected) this.shown[starts[rank(row)]++] = row
      this.head.firstChild.childNodes.forEach((cell, number) => {
        if (number === at) cell.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending')
        else cell.removeAttribute('aria-sort')
      })
      this.table.setAttribute('aria-rowcount', this.shown.length + 1)
      this.draw(true)
    }

    draw (anew = false, everything = false) {
      const height = this.body.querySelector('tr:not(.filler)')?.offsetHeight || ROW
      const sight = Math.ceil((this.scroll.clientHeight || 512) / height)
      const first = everything ? 0 : Math.max(0, Math.min(Math.floor(this.scroll.scrollTop / height) - MARGIN, this.shown.length - sight))
      const last = everything ? Math.min(this.shown.length, PRINTED) : Math.min(this.shown.length, first + sight + 2 * MARGIN)
      if (!anew && first === this.first && last === this.last) return
      this.first = first
      this.last = last
      const rows = []
      for (let place = first; place < last; place++) {
        const row = this.shown[place]
        const cells = this.columns.map((column, number) => {
          const cell = make(number ? 'td' : 'th', number ? {} : { scope: 'row' })
          if (column.isRight) cell.className = 'right'
          const text = cell.textContent = column.text(row)
          if (text.length > 34) cell.title = text
          return cell
        })
        rows.push(make('tr', { 'aria-rowindex': place + 2 }, ...cells))
      }
      const filler = count => {
        const cell = make('td', { colspan: this.columns.length })
        const made = make('tr', { class: 'filler', 'aria-hidden': 'true' }, cell)
        cell.style.height = `${count * height}px`
        return made
      }
      this.body.replaceChildren(...(first && !everything ? [filler(first)] : []), ...rows, ...(last < this.shown.length && !everything ? [filler(this.shown.length - last)] : []))
    }
  }

  const tables = new Map()
  const load = (data, place = document.getElementById('tables')) => {
    for (const one of data) {
      if (tables.has(one.name)) tables.get(one.name).load(one)
      else tables.set(one.name, new Table(one, place))
    }
  }
  load(JSON.parse(document.getElementById('data').textContent))

  // paper shows the first rows of each table, and says how many it leaves out
  addEventListener('beforeprint', () => {
    for (const details of document.querySelectorAll('details:not([open])')) { details.open = true; details.dataset.opened = '' }
    for (const table of tables.values()) {
      table.draw(true, true)
      if (table.shown.length > PRINTED) table.count.textContent += `; the first ${PRINTED} are printed`
    }
  })
  addEventListener('afterprint', () => {
    for (const details of document.querySelectorAll('details[data-opened]')) { details.open = false; delete details.dataset.opened }
    for (const table of tables.values()) table.select()
  })
  return { load, make, tables }
})()
