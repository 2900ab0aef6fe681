// The live page: what has changed comes every few seconds, and the panel asks what would be.
;(() => {
  const SECONDS = 3
  const find = id => document.getElementById(id)
  const live = find('live')
  let { version } = live.dataset
  let read = new Date()

  const fillHosts = () => {
    const { columns } = page.tables.get('hosts')
    const names = columns.find(column => column.key === 'name'), uuids = columns.find(column => column.key === 'uuid')
    for (const id of ['fail', 'empty']) {
      const chosen = new Set(Array.from(find(id).selectedOptions, option => option.value))
      find(id).replaceChildren(...Array.from({ length: page.tables.get('hosts').rows }, (_, row) => {
        const option = page.make('option', { value: uuids.text(row) || names.text(row) })
        option.textContent = names.text(row)
        option.selected = chosen.has(option.value)
        return option
      }))
    }
  }

  // what the server writes as HTML has every name escaped
  const put = (place, html) => { place.innerHTML = html }

  const update = async () => {
    try {
      const response = await fetch(`page.json?${encodeURIComponent(version)}`, { signal: AbortSignal.timeout(60000) })
      if (!response.ok) throw new Error(`the server answers ${response.status}`)
      const told = await response.json()
      read = new Date()
      if (told.version !== version && told.tables) {
        const opened = Array.from(document.querySelectorAll('#summary details'), one => one.open)
        put(find('summary'), told.summary)
        const details = document.querySelectorAll('#summary details')
        if (details.length === opened.length) details.forEach((one, at) => { one.open = opened[at] })
        page.load(told.tables)
        fillHosts()
        version = told.version
      }
      live.textContent = `live: as of ${read.toLocaleTimeString()}`
    } catch (error) {
      live.textContent = `not live: ${error.message}; as of ${read.toLocaleTimeString()}`
    }
    setTimeout(update, SECONDS * 1000)
  }

  const ask = async () => {
    const chosen = id => Array.from(find(id).selectedOptions, option => option.value)
    const question = { fail: chosen('fail'), empty: chosen('empty') }
    const memory = find('memory').value.trim()
    if (memory) question.add = { memory, vcpus: Number(find('vcpus').value), count: Number(find('count').value) }
    find('ask').disabled = true
    find('told').textContent = 'asking ...'
    try {
      const response = await fetch('what-if', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(question) })
      const told = await response.json()
      if (!response.ok) throw new Error(told.error)
      find('told').textContent = ''
      put(find('answer'), told.html)
      page.tables.delete('moves')
      page.load(told.tables, find('answer'))
    } catch (error) {
      find('answer').replaceChildren()
      find('told').textContent = error.message
    }
    find('ask').disabled = false
  }

  find('ask').addEventListener('click', ask)
  find('clear').addEventListener('click', () => {
    for (const id of ['fail', 'empty']) find(id).selectedIndex = -1
    find('memory').value = ''
    find('answer').replaceChildren()
    find('told').textContent = ''
  })
  fillHosts()
  setTimeout(update, SECONDS * 1000)
})()
