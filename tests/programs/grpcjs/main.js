// Either end of gRPC in JavaScript: server ADDRESS CERTIFICATE [NAME=VALUE...] or client ADDRESS CA [NAME=VALUE...];
// names and values are channel arguments without "grpc.".
//
// A client makes one call, or with calls=N so many, says "answered", and ends when its connection is lost: "lost". With
// wait=1 it makes no call, and says "failed" when connecting failed. With leave=MILLISECONDS it closes its channel so long
// after its last call. A server says "listens". With stop=MILLISECONDS it shuts down so long after its first call.

const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const [role, where, file, ...rest] = process.argv.slice(1);
const own = {};
const options = {};
for (const argument of rest) {
  const [name, value] = argument.split('=');
  if (['calls', 'leave', 'stop', 'wait'].includes(name)) {
    own[name] = Number(value);
  } else {
    options['grpc.' + name] = Number(value);
  }
}
const pem = fs.readFileSync(file);
const same = (bytes) => bytes;

function serve() {
  const server = new grpc.Server(options);
  const call = {
    path: '/test.Echo/Call',
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  function echo(request, answer) {
    answer(null, request.request);
    if (own.stop !== undefined) {
      setTimeout(() => server.tryShutdown(() => console.log('stopped')), own.stop);
    }
  }
  server.addService({ Call: call }, { Call: echo });
  const credentials = grpc.ServerCredentials.createSsl(null, [{ private_key: pem, cert_chain: pem }]);
  server.bindAsync(where, credentials, (error) => {
    console.log(error ? `error ${error.message}` : 'listens');
  });
}

function call(client) {
  return new Promise((resolve, reject) => {
    const answer = (error) => (error ? reject(error) : resolve());
    client.makeUnaryRequest('/test.Echo/Call', same, same, Buffer.alloc(300), answer);
  });
}

/** Follows the channel until `done` says so of a state. */
function follow(channel, state, done) {
  channel.watchConnectivityState(state, Infinity, () => {
    const next = channel.getConnectivityState(false);
    console.log('state', grpc.connectivityState[next]);
    if (!done(next)) {
      follow(channel, next, done);
    }
  });
}

async function connect() {
  const client = new grpc.Client(where, grpc.credentials.createSsl(pem), options);
  const channel = client.getChannel();
  const { READY, TRANSIENT_FAILURE } = grpc.connectivityState;
  let ready = false;
  const ended = new Promise((resolve) => {
    follow(channel, channel.getConnectivityState(true), (state) => {
      const lost = (ready && state !== READY) || state === TRANSIENT_FAILURE;
      ready ||= state === READY;
      if (lost) {
        resolve();
      }
      return lost;
    });
  });
  if (!own.wait) {
    for (let calls = own.calls ?? 1; calls > 0; calls--) {
      await call(client);
    }
    console.log('answered');
  }
  if (own.leave !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, own.leave));
  } else {
    // What is watched does not keep Node alive.
    const timer = setInterval(() => {}, 1000);
    await ended;
    clearInterval(timer);
    console.log(ready ? 'lost' : 'failed');
  }
  client.close();
}

role === 'server' ? serve() : connect();
