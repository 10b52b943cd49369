import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/** One connection that says exactly what it is told to, well formed or not. */
final class Wire implements AutoCloseable {
    static final int SILENCE_MS = Integer.getInteger("silence.ms", 8000);

    final Socket socket;
    final DataInputStream in;
    final OutputStream out;

    Wire(String host, int port) throws IOException {
        socket = new Socket();
        socket.connect(new InetSocketAddress(host, port), 5000);
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(SILENCE_MS);
        in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), 1 << 16));
        out = socket.getOutputStream();
    }

    /** A request's bytes behind the length: header as the version asks, then the body. */
    static byte[] request(ApiKeys key, int version, int correlation, ApiMessage body) {
        return join(header(key.id, version, correlation, "compare", key.requestHeaderVersion((short) version)), bytes(body, version));
    }

    static byte[] header(int key, int version, int correlation, String client, int headerVersion) {
        var header = new RequestHeaderData().setRequestApiKey((short) key).setRequestApiVersion((short) version).setCorrelationId(correlation).setClientId(client);
        return bytes(header, headerVersion);
    }

    static byte[] bytes(ApiMessage message, int version) {
        var buffer = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
        var bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static byte[] join(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        for (var part : parts) all.writeBytes(part);
        return all.toByteArray();
    }

    /** The frame: length, then the request. */
    static byte[] framed(byte[] request) {
        return join(ByteBuffer.allocate(4).putInt(request.length).array(), request);
    }

    void send(byte[] bytes) throws IOException {
        out.write(bytes);
        out.flush();
    }

    /** The next frame's bytes; null where the broker closed; throws SocketTimeoutException where it stays silent. */
    byte[] receive() throws IOException {
        try {
            int length = in.readInt();
            if (length < 4 || length > 200_000_000) throw new IOException("a frame of " + length + " bytes");
            var frame = new byte[length];
            in.readFully(frame);
            return frame;
        } catch (EOFException | SocketException closed) {
            return null;
        }
    }

    @Override public void close() {
        try { socket.close(); } catch (IOException ignored) { }
    }
}
