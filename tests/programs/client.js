// A TLS client: HOST PORT CA [MAXVERSION [endless]] exchanges a line and leaves; prints "ok VERSION" or "error CODE".
// Endless: again and again, until standard input ends.
const fs = require('fs');
const tls = require('tls');

const [host, port, ca, maxVersion, endless] = process.argv.slice(1);
const authorities = fs.readFileSync(ca);
let again = endless !== undefined;

function connect() {
  const socket = tls.connect({ host, port, maxVersion, ca: authorities }, () => socket.write('abc\n'));
  socket.on('data', (data) => {
    console.log(data.toString() === 'cba\n' ? 'ok' : 'wrong', socket.getProtocol());
    socket.end();
  });
  socket.on('error', (error) => {
    console.log('error', error.code);
  });
  socket.on('close', () => again && connect());
}

if (again) {
  process.stdin.on('end', () => {
    again = false;
  });
  process.stdin.resume();
}
connect();
