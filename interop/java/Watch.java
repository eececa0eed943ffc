import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

import net.i2p.data.Hash;
import net.i2p.router.RouterContext;
import net.i2p.router.TunnelInfo;
import net.i2p.router.peermanager.PeerProfile;
import net.i2p.router.transport.Transport;
import net.i2p.router.tunnel.HopConfig;
import net.i2p.router.tunnel.pool.TunnelPool;
import net.i2p.stat.RateStat;

/**
 * Runs as a client application inside a Java router and tells whoever asks http://127.0.0.1:PORT what the router counts:
 * lines of words, a hash in I2P's base 64.
 */
public class Watch implements Runnable {
    private final ServerSocket listener;

    private Watch(int port) throws IOException {
        listener = new ServerSocket(port, 8, InetAddress.getByName("127.0.0.1"));
    }

    public static void main(String[] args) throws IOException {
        Thread thread = new Thread(new Watch(Integer.parseInt(args[0])), "Watch");
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void run() {
        while (true) {
            try (Socket socket = listener.accept()) {
                socket.setSoTimeout(5000);
                // What is asked for does not matter, but it must be read: bytes left unread would reset the connection.
                socket.getInputStream().read(new byte[4096]);
                OutputStream out = socket.getOutputStream();
                out.write("HTTP/1.0 200 OK\r\n\r\n".getBytes(StandardCharsets.UTF_8));
                out.write(tell(RouterContext.listContexts().get(0)).getBytes(StandardCharsets.UTF_8));
            } catch (IOException | RuntimeException why) {
                System.err.println("watch: " + why);
            }
        }
    }

    private static String tell(RouterContext router) {
        StringBuilder said = new StringBuilder();
        line(said, "running", router.router().isRunning());
        line(said, "known", router.netDb().getKnownRouters());
        line(said, "leases", router.netDb().getKnownLeaseSets());
        for (Map.Entry<String, Transport> transport : router.commSystem().getTransports().entrySet()) {
            for (Hash peer : transport.getValue().getEstablished()) {
                line(said, "session", transport.getKey(), peer.toBase64());
            }
        }
        for (HopConfig hop : router.tunnelDispatcher().listParticipatingTunnels()) {
            line(said, "transit", hop.getProcessedMessagesCount(), name(hop.getReceiveFrom()), name(hop.getSendTo()));
        }
        List<TunnelPool> pools = new ArrayList<>();
        router.tunnelManager().listPools(pools);
        for (TunnelPool pool : pools) {
            for (TunnelInfo tunnel : pool.listTunnels()) {
                StringBuilder hops = new StringBuilder();
                // The router itself is the last hop of an inbound tunnel and the first one of an outbound tunnel.
                int first = tunnel.isInbound() ? 0 : 1;
                for (int hop = 0; hop < tunnel.getLength() - 1; hop++) {
                    hops.append(hop == 0 ? "" : ",").append(tunnel.getPeer(hop + first).toBase64());
                }
                line(said, "tunnel", pool.getSettings().isExploratory() ? "exploratory" : "client",
                    tunnel.isInbound() ? "inbound" : "outbound", tunnel.getProcessedMessagesCount(),
                    hops.length() == 0 ? "-" : hops);
            }
        }
        for (Hash peer : router.profileOrganizer().selectAllPeers()) {
            PeerProfile profile = router.profileOrganizer().getProfile(peer);
            if (profile == null || profile.getTunnelHistory() == null) continue;
            line(said, "peer", peer.toBase64(), profile.getTunnelHistory().getLifetimeAgreedTo());
        }
        for (String kind : new String[] {"Client", "Exploratory"}) {
            for (String end : new String[] {"Success", "Reject", "Expire"}) {
                RateStat stat = router.statManager().getRate("tunnel.build" + kind + end);
                line(said, "builds", kind, end, stat == null ? 0 : stat.getLifetimeEventCount());
            }
        }
        return said.toString();
    }

    private static String name(Hash peer) {
        return peer == null ? "-" : peer.toBase64();
    }

    private static void line(StringBuilder said, Object... words) {
        for (int word = 0; word < words.length; word++) {
            said.append(word == 0 ? "" : " ").append(words[word]);
        }
        said.append('\n');
    }
}
