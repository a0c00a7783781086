import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** A TLS client for any server of HTTP: HOST PORT CA OFFER MAX, as client.py. */
class MatrixClient {
    private static final String H2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    private static final String HTTP = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    public static void main(String[] arguments) throws Exception {
        var authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (var file = new FileInputStream(arguments[2])) {
            var certificate = CertificateFactory.getInstance("X.509").generateCertificate(file);
            authorities.setCertificateEntry("ca", certificate);
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(authorities);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        var port = Integer.parseInt(arguments[1]);
        try (var socket = (SSLSocket) context.getSocketFactory().createSocket(arguments[0], port)) {
            socket.setSoTimeout(10000);
            var parameters = socket.getSSLParameters();
            if (!arguments[3].equals("-")) {
                parameters.setApplicationProtocols(arguments[3].split(","));
            }
            if (arguments[4].equals("1.2")) {
                parameters.setProtocols(new String[] {"TLSv1.2"});
            }
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            var protocol = socket.getApplicationProtocol();
            socket.getOutputStream().write((protocol.equals("h2") ? H2 : HTTP).getBytes("ISO-8859-1"));
            if (socket.getInputStream().read() < 0) {
                throw new java.io.IOException("the server left");
            }
            System.out.println("ok " + socket.getSession().getProtocol() + " " + protocol);
        } catch (java.io.IOException error) {
            System.out.println("error " + error.getMessage());
            System.exit(1);
        }
    }
}
