// A TLS client for any server of HTTP: HOST PORT CA OFFER MAX, as client.py.
const fs = require('fs');
const tls = require('tls');

const [host, port, ca, offer, most] = process.argv.slice(1);
const h2 = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
const http = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
const options = { host, port, servername: 'localhost', ca: fs.readFileSync(ca) };
if (offer !== '-') options.ALPNProtocols = offer.split(',');
if (most === '1.2') options.maxVersion = 'TLSv1.2';
const socket = tls.connect(options, () => socket.write(socket.alpnProtocol === 'h2' ? h2 : http));
let done = false;
function end(text, code) {
  if (done) return;
  done = true;
  console.log(text);
  process.exitCode = code;
  socket.end();
}
socket.once('data', () => end(`ok ${socket.getProtocol()} ${socket.alpnProtocol}`, 0));
socket.on('error', (error) => end(`error ${error.code} ${error.message}`, 1));
socket.on('close', () => end('error the server left', 1));
setTimeout(() => end('error nothing came', 1), 10000).unref();
