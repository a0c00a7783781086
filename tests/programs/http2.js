// Either end of HTTP/2 by Node's own library: server PORT CERTIFICATE [NAME=VALUE...] or
// client PORT [NAME=VALUE...].
//
// A server says "listens". idle=MILLISECONDS: it closes a session that nobody used for so long. code=N: it destroys
// a session, with that error, at its first request.
//
// A client says "ready" when it has the server's SETTINGS, and "lost" when its session is closed. request=1: it makes
// a request then. ping=MILLISECONDS: it pings as often. leave=MILLISECONDS: it closes its session after so long.
// patience=MILLISECONDS: it destroys a session without SETTINGS after so long.

const http2 = require('http2');
const fs = require('fs');

const [role, port, ...rest] = process.argv.slice(1);
const certificate = role === 'server' ? rest.shift() : undefined;
const options = Object.fromEntries(rest.map((argument) => argument.split('=')));

function serve() {
  const pem = fs.readFileSync(certificate);
  const server = http2.createSecureServer({ key: pem, cert: pem });
  server.on('session', (session) => {
    session.on('error', () => {});
    if (options.idle) {
      session.setTimeout(Number(options.idle), () => session.close());
    }
  });
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    if (options.code) {
      stream.session.destroy(undefined, Number(options.code));
    } else {
      stream.respond({ ':status': 200 });
      stream.end('hello');
    }
  });
  server.listen(Number(port), '127.0.0.1', () => console.log('listens'));
}

function connect() {
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  const timers = [];
  session.on('error', (error) => console.log('error', error.code));
  session.on('goaway', (code, _, data) => console.log('goaway', code, String(data ?? '')));
  if (options.patience) {
    timers.push(setTimeout(() => session.destroy(), Number(options.patience)));
  }
  session.on('close', () => {
    timers.forEach(clearTimeout);
    console.log('lost');
  });
  session.once('remoteSettings', () => {
    timers.forEach(clearTimeout);
    console.log('ready');
    if (options.request) {
      const stream = session.request({ ':path': '/' });
      stream.on('error', () => {});
      stream.resume();
    }
    if (options.ping) {
      timers.push(setInterval(() => session.ping(() => {}), Number(options.ping)));
    }
    if (options.leave) {
      timers.push(setTimeout(() => session.close(), Number(options.leave)));
    }
  });
}

role === 'server' ? serve() : connect();
