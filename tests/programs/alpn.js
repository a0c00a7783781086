// Either end of many connections at once in one thread, which Node drives by SSL_read and SSL_write:
//   server PORT CERTIFICATE      takes h2 and http/1.1, answers what is said and closes
//   client PORT CA COUNT         offers h2, http/1.1 or nothing, in turns; prints "ok SELECTED" for each
const fs = require("fs");
const tls = require("tls");

const [role, port, pem, count] = process.argv.slice(1);
const offers = [["h2"], ["http/1.1"], []];

if (role === "server") {
  const certificate = fs.readFileSync(pem);
  const options = { key: certificate, cert: certificate, ALPNProtocols: ["h2", "http/1.1"] };
  const server = tls.createServer(options, (socket) => {
    socket.on("data", (said) => socket.end(said));
    socket.on("error", (error) => console.log("error", error.message));
  });
  server.listen(Number(port), "127.0.0.1");
} else {
  const ca = fs.readFileSync(pem);
  for (let number = 0; number < Number(count); number++) {
    const ALPNProtocols = offers[number % offers.length];
    const options = { port: Number(port), host: "127.0.0.1", servername: "localhost", ca, ALPNProtocols };
    const socket = tls.connect(options, () => socket.write("abc"));
    socket.on("data", () => console.log("ok", socket.alpnProtocol));
    socket.on("error", (error) => console.log("error", error.message));
  }
}
