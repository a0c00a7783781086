// A TLS client: HOST PORT CA [MAXVERSION] exchanges a line and leaves; prints "ok VERSION" or "error CODE".
const fs = require('fs');
const tls = require('tls');

const [host, port, ca, maxVersion] = process.argv.slice(1);
const socket = tls.connect({ host, port, maxVersion, ca: fs.readFileSync(ca) }, () => socket.write('abc\n'));
socket.on('data', (data) => {
  console.log(data.toString() === 'cba\n' ? 'ok' : 'wrong', socket.getProtocol());
  socket.end();
});
socket.on('error', (error) => {
  console.log('error', error.code);
});
