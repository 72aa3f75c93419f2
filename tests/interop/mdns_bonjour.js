// A foreign mDNS peer: npm's bonjour-service.  Publishes one instance and prints what it sees, until SIGTERM.
// usage: mdns_bonjour.js INSTANCE PORT KEY=VALUE...
const { Bonjour } = require('bonjour-service')

const [instance, port, ...txt] = process.argv.slice(2)
const bonjour = new Bonjour()

function show(service) {
  const strings = Object.entries(service.txt || {}).map(([key, value]) => `${key}=${value}`).join(';')
  console.log('seen', service.name, service.port, strings, (service.addresses || []).join(','))
}

const browser = bonjour.find({ type: 'spacedrive' }, show)
browser.on('txt-update', show)
browser.on('down', service => console.log('gone', service.name))
bonjour.publish({
  name: instance,
  type: 'spacedrive',
  port: Number(port),
  txt: Object.fromEntries(txt.map(string => string.split('=', 2)))
})
process.on('SIGTERM', () => bonjour.unpublishAll(() => bonjour.destroy(() => process.exit(0))))
