// An HTTP server: PORT CERTIFICATE TAKE MIN [CA] (TAKE: protocols, commas between; "-" for none). With CA it demands
// a client certificate.
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const tls = require('tls');

const [port, certificate, take, least, ca] = process.argv.slice(1);
const pem = fs.readFileSync(certificate);
const options = { key: pem, cert: pem, minVersion: least === '1.3' ? 'TLSv1.3' : 'TLSv1.2', allowHTTP1: true };
if (ca) Object.assign(options, { ca: fs.readFileSync(ca), requestCert: true, rejectUnauthorized: true });
const answer = (request, response) => response.end('hello\n');
if (take === 'h2' || take === 'h2,http/1.1') {
  options.ALPNProtocols = take.split(',');
  http2.createSecureServer(options, answer).listen(port, '127.0.0.1');
} else {
  if (take !== '-') options.ALPNProtocols = take.split(',');
  const inner = http.createServer(answer);
  tls.createServer(options, (socket) => inner.emit('connection', socket)).listen(port, '127.0.0.1');
}
