// An HTTP server: PORT CERTIFICATE TAKE MIN [CA] (TAKE: protocols, commas between; "-" for none). With CA it demands
// a client certificate. Says why handshakes fail.
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const tls = require('tls');

const [port, certificate, take, least, ca] = process.argv.slice(1);
const pem = fs.readFileSync(certificate);
const options = { key: pem, cert: pem, minVersion: least === '1.3' ? 'TLSv1.3' : 'TLSv1.2' };
if (ca) Object.assign(options, { ca: fs.readFileSync(ca), requestCert: true, rejectUnauthorized: true });
const answer = (request, response) => response.end('hello\n');
let server;
if (take === 'h2' || take === 'h2,http/1.1') {
  // It makes its protocols of this.
  options.allowHTTP1 = take !== 'h2';
  server = http2.createSecureServer(options, answer);
} else {
  if (take !== '-') options.ALPNProtocols = take.split(',');
  const inner = http.createServer(answer);
  server = tls.createServer(options, (socket) => inner.emit('connection', socket));
}
server.on('tlsClientError', (error) => console.log(`error ${error.code} ${error.message}`));
server.listen(port, '127.0.0.1');
