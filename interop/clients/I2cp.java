// A program over Java's own client library, which brings its streams and datagrams, at the I2CP port of a router.
//
// `I2cp serve` names its destinations, and sends back what comes, until it is killed. `I2cp ask STYLE DESTINATION ...`
// asks such services, of this program or at a SAM bridge, and says how it went; `SESSION` asks the router itself. `I2cp session`
// only has a session. With -Dsuite.tls=true all of it goes by TLS.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import net.i2p.client.I2PClient;
import net.i2p.client.I2PClientFactory;
import net.i2p.client.I2PSession;
import net.i2p.client.I2PSessionMuxedListener;
import net.i2p.client.SendMessageOptions;
import net.i2p.client.SendMessageStatusListener;
import net.i2p.client.datagram.I2PDatagramDissector;
import net.i2p.client.datagram.I2PDatagramMaker;
import net.i2p.client.streaming.I2PServerSocket;
import net.i2p.client.streaming.I2PSocket;
import net.i2p.client.streaming.I2PSocketManager;
import net.i2p.client.streaming.I2PSocketManagerFactory;
import net.i2p.crypto.SigType;
import net.i2p.data.Base64;
import net.i2p.data.Destination;

public class I2cp {
    static final String HOST = "127.0.0.1";
    static final int PORT = 7654;
    static final int STREAM_BYTES = 2_000_000;
    static final int DATAGRAMS = 20;
    static final int MOST_LOST = 2;
    static final long FIRST_MS = 90_000;

    static Properties options(String... more) {
        Properties options = new Properties();
        options.setProperty("i2cp.tcp.host", HOST);
        options.setProperty("i2cp.tcp.port", Integer.toString(PORT));
        options.setProperty("i2cp.leaseSetEncType", "4");
        options.setProperty("i2p.streaming.connectTimeout", "20000");
        for (String way : new String[] { "inbound", "outbound" }) {
            options.setProperty(way + ".length", "2");
            options.setProperty(way + ".quantity", "2");
        }
        if (Boolean.getBoolean("suite.tls")) {
            options.setProperty("i2cp.SSL", "true");
        }
        for (int i = 0; i + 1 < more.length; i += 2) {
            options.setProperty(more[i], more[i + 1]);
        }
        return options;
    }

    static byte[] keys() throws Exception {
        ByteArrayOutputStream keys = new ByteArrayOutputStream();
        I2PClientFactory.createClient().createDestination(keys, SigType.EdDSA_SHA512_Ed25519);
        return keys.toByteArray();
    }

    /** Other keys with the encryption key of these, as the library wants them for a subsession. */
    static byte[] keysBeside(byte[] first) throws Exception {
        byte[] keys = keys();
        // The public key, and behind the signing key and the certificate its private part.
        System.arraycopy(first, 0, keys, 0, 256);
        System.arraycopy(first, 391, keys, 391, 256);
        return keys;
    }

    static I2PSession session() throws Exception {
        I2PSession session =
            I2PClientFactory.createClient().createSession(new ByteArrayInputStream(keys()), options());
        session.connect();
        return session;
    }

    static I2PSocketManager manager() throws Exception {
        return I2PSocketManagerFactory.createManager(new ByteArrayInputStream(keys()), HOST, PORT, options());
    }

    /**
     * Read from bytes, as those in packets are: in version 2.8.0 one that is read from text is another than the same one
     * out of a packet, since their padding is kept in two forms.
     */
    static Destination destination(String text) throws Exception {
        return Destination.create(new ByteArrayInputStream(Base64.decode(text)));
    }

    /** Messages of one protocol. */
    static class Inbox implements I2PSessionMuxedListener {
        final BlockingQueue<byte[]> queue = new ArrayBlockingQueue<>(1000);

        public void messageAvailable(I2PSession session, int id, long size) {
            messageAvailable(session, id, size, 0, 0, 0);
        }

        public void messageAvailable(I2PSession session, int id, long size, int proto, int from, int to) {
            try {
                byte[] payload = session.receiveMessage(id);
                if (payload != null) {
                    queue.offer(payload);
                }
            } catch (Exception e) {
                System.err.println("a message was not read: " + e);
            }
        }

        public void reportAbuse(I2PSession session, int severity) {}

        public void disconnected(I2PSession session) {}

        public void errorOccurred(I2PSession session, String message, Throwable error) {
            System.err.println("error: " + message + ": " + error);
        }
    }

    static void serve() throws Exception {
        I2PSocketManager manager = manager();
        System.out.println("STREAM " + manager.getSession().getMyDestination().toBase64());
        I2PServerSocket server = manager.getServerSocket();
        start(() -> {
            while (true) {
                I2PSocket socket = server.accept();
                if (socket != null) {
                    start(() -> echo(socket));
                }
            }
        });
        I2PSession session = session();
        Inbox signed = new Inbox();
        Inbox raw = new Inbox();
        session.addMuxedSessionListener(signed, I2PSession.PROTO_DATAGRAM, I2PSession.PORT_ANY);
        session.addMuxedSessionListener(raw, I2PSession.PROTO_DATAGRAM_RAW, I2PSession.PORT_ANY);
        for (String style : new String[] { "DATAGRAM", "RAW" }) {
            System.out.println(style + " " + session.getMyDestination().toBase64());
        }
        start(() -> {
            while (true) {
                I2PDatagramDissector datagram = new I2PDatagramDissector();
                datagram.loadI2PDatagram(signed.queue.take());
                byte[] answer = new I2PDatagramMaker(session).makeI2PDatagram(datagram.getPayload());
                send(session, datagram.getSender(), answer, I2PSession.PROTO_DATAGRAM);
            }
        });
        start(() -> {
            while (true) {
                byte[] payload = raw.queue.take();
                // The sender of a raw one stands in its first line.
                Destination to = destination(new String(payload, "UTF-8").split("\n")[0]);
                send(session, to, payload, I2PSession.PROTO_DATAGRAM_RAW);
            }
        });
        System.out.println("ready");
        System.out.flush();
        Thread.sleep(Long.MAX_VALUE);
    }

    static void send(I2PSession session, Destination to, byte[] payload, int proto) throws Exception {
        session.sendMessage(to, payload, 0, payload.length, null, null, 0, proto, 0, 0);
    }

    static void echo(I2PSocket socket) throws Exception {
        try {
            InputStream in = socket.getInputStream();
            OutputStream out = socket.getOutputStream();
            byte[] buffer = new byte[16_384];
            for (int n; (n = in.read(buffer)) >= 0;) {
                out.write(buffer, 0, n);
                out.flush();
            }
        } finally {
            socket.close();
        }
    }

    /** Megabytes there and back by one stream. */
    static String stream(Destination to) throws Exception {
        I2PSocketManager manager = manager();
        long start = System.currentTimeMillis();
        I2PSocket socket = null;
        while (socket == null) {
            try {
                socket = manager.connect(to);
            } catch (Exception e) {
                if (System.currentTimeMillis() - start > FIRST_MS) {
                    throw e;
                }
                Thread.sleep(2_000);
            }
        }
        long opened = System.currentTimeMillis() - start;
        socket.setReadTimeout(60_000);
        byte[] content = new byte[STREAM_BYTES];
        new Random(7).nextBytes(content);
        OutputStream out = socket.getOutputStream();
        start(() -> {
            out.write(content);
            out.flush();
        });
        InputStream in = socket.getInputStream();
        byte[] got = new byte[STREAM_BYTES];
        int count = 0;
        // i2pd ends both directions when the program ends one, so this one ends none before all is here.
        while (count < got.length) {
            int n = in.read(got, count, got.length - count);
            if (n < 0) {
                throw new Exception("the stream has ended after " + count + " bytes");
            }
            count += n;
        }
        long took = System.currentTimeMillis() - start;
        if (!Arrays.equals(got, content)) {
            throw new Exception("other bytes than were sent");
        }
        socket.close();
        manager.destroySocketManager();
        return "opened in " + opened + " ms, " + count + " bytes and back in " + took + " ms";
    }

    /** Datagrams there and back. */
    static String ping(String style, Destination to) throws Exception {
        I2PSession session = session();
        boolean raw = style.equals("RAW");
        int proto = raw ? I2PSession.PROTO_DATAGRAM_RAW : I2PSession.PROTO_DATAGRAM;
        Inbox inbox = new Inbox();
        session.addMuxedSessionListener(inbox, proto, I2PSession.PORT_ANY);
        String own = session.getMyDestination().toBase64();
        long start = System.currentTimeMillis();
        long first = -1;
        int answered = 0;
        for (int sent = 0; sent < DATAGRAMS;) {
            byte[] payload = (own + "\n" + style + " " + System.nanoTime() + " " + "x".repeat(600)).getBytes("UTF-8");
            byte[] message = raw ? payload : new I2PDatagramMaker(session).makeI2PDatagram(payload);
            send(session, to, message, proto);
            boolean came = false;
            long end = System.currentTimeMillis() + (first < 0 ? 5_000 : 10_000);
            while (!came && System.currentTimeMillis() < end) {
                byte[] answer = inbox.queue.poll(end - System.currentTimeMillis(), TimeUnit.MILLISECONDS);
                if (answer != null && !raw) {
                    I2PDatagramDissector datagram = new I2PDatagramDissector();
                    datagram.loadI2PDatagram(answer);
                    datagram.verifySignature();
                    if (!datagram.getSender().equals(to)) {
                        throw new Exception("another sender");
                    }
                    answer = datagram.getPayload();
                }
                came = Arrays.equals(answer, payload);
            }
            if (came) {
                answered++;
                first = first < 0 ? System.currentTimeMillis() - start : first;
            } else if (first < 0) {
                if (System.currentTimeMillis() - start > FIRST_MS) {
                    throw new Exception("no answer");
                }
                continue;
            }
            sent++;
        }
        session.destroySession();
        String said = answered + " of " + DATAGRAMS + ", first after " + first + " ms";
        if (DATAGRAMS - answered > MOST_LOST) {
            throw new Exception(said);
        }
        return said;
    }

    /**
     * In version 2.8.0 a subsession outside the router does not hear of the router's version, and makes LeaseSets of type
     * 1 with whatever key it has, which no router can read.
     */
    static void knows(I2PSession session, String what) throws Exception {
        Class<?> of = session.getClass();
        while (!of.getSimpleName().equals("I2PSessionImpl")) {
            of = of.getSuperclass();
        }
        Field field = of.getDeclaredField(what);
        field.setAccessible(true);
        field.setBoolean(session, true);
    }

    /** What there is beside messages: look-ups, limits, word of messages, other tunnels, more sessions. */
    static String features(Destination to) throws Exception {
        I2PSession session = session();
        if (!to.equals(session.lookupDest(to.calculateHash(), 30_000))) {
            throw new Exception("the destination was not found by its hash");
        }
        if (!to.equals(session.lookupDest(to.toBase32(), 30_000))) {
            throw new Exception("the destination was not found by its b32 name");
        }
        if (session.lookupDest("nobody-has-this-name.i2p") != null) {
            throw new Exception("a name that nobody has was found");
        }
        int[] limits = session.bandwidthLimits();
        if (limits == null || limits[0] <= 0) {
            throw new Exception("no limits of bandwidth");
        }
        BlockingQueue<Integer> words = new ArrayBlockingQueue<>(100);
        SendMessageStatusListener listener = (of, id, status) -> words.offer(status);
        SendMessageOptions hints = new SendMessageOptions();
        byte[] text = (session.getMyDestination().toBase64() + "\nword").getBytes("UTF-8");
        session.sendMessage(to, text, 0, text.length, I2PSession.PROTO_DATAGRAM_RAW, 1, 2, hints, listener);
        // 1 is accepted, and 2 that it has left.
        Integer first = words.poll(30, TimeUnit.SECONDS);
        Integer second = Integer.valueOf(1).equals(first) ? words.poll(30, TimeUnit.SECONDS) : first;
        if (!Integer.valueOf(2).equals(second)) {
            throw new Exception("word of a message: " + first + ", " + second);
        }
        Properties changed = options("inbound.quantity", "3", "outbound.quantity", "3");
        session.updateOptions(changed);
        session.destroySession();
        byte[] others = keys();
        I2PSession primary =
            I2PClientFactory.createClient().createSession(new ByteArrayInputStream(others), options());
        knows(primary, "_routerSupportsSubsessions");
        I2PSession sub = primary.addSubsession(new ByteArrayInputStream(keysBeside(others)), options());
        knows(sub, "_routerSupportsLS2");
        primary.connect();
        sub.connect();
        Inbox inbox = new Inbox();
        sub.addMuxedSessionListener(inbox, I2PSession.PROTO_DATAGRAM_RAW, I2PSession.PORT_ANY);
        byte[] answer = null;
        long end = System.currentTimeMillis() + FIRST_MS;
        byte[] payload = (sub.getMyDestination().toBase64() + "\nsubsession").getBytes("UTF-8");
        while (!Arrays.equals(answer, payload)) {
            if (System.currentTimeMillis() > end) {
                throw new Exception("a subsession had no answer");
            }
            send(sub, to, payload, I2PSession.PROTO_DATAGRAM_RAW);
            answer = inbox.queue.poll(5, TimeUnit.SECONDS);
        }
        primary.destroySession();
        return "look-ups, limits, word of a message, other tunnels, a subsession";
    }

    interface Work {
        void run() throws Exception;
    }

    static void start(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("serve")) {
            serve();
        }
        if (args.length == 1 && args[0].equals("session")) {
            String how = "ok a session";
            try {
                session().destroySession();
            } catch (Exception e) {
                how = "bad";
                for (Throwable why = e; why != null; why = why.getCause()) {
                    how += " " + why;
                }
            }
            System.out.println(how);
            System.exit(0);
        }
        if (args.length < 3 || !args[0].equals("ask")) {
            System.err.println("I2cp serve | session | ask STYLE DESTINATION ...");
            System.exit(2);
        }
        StringBuilder said = new StringBuilder();
        boolean good = true;
        for (int i = 1; i + 1 < args.length; i += 2) {
            String style = args[i];
            String how;
            try {
                Destination to = destination(args[i + 1]);
                switch (style) {
                    case "STREAM": how = stream(to); break;
                    case "SESSION": how = features(to); break;
                    default: how = ping(style, to);
                }
            } catch (Exception e) {
                good = false;
                how = e.toString();
            }
            said.append(said.length() == 0 ? "" : ", ").append(style).append(' ').append(how);
        }
        System.out.println((good ? "ok " : "bad ") + said);
        System.exit(0);
    }
}
