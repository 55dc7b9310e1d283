// An echo server with a platform thread for each connection, as java.net has been used since its first release.
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

public class Echo {
  private static void serve(Socket socket) {
    try (socket) {
      socket.setTcpNoDelay(true);
      var in = socket.getInputStream();
      var out = socket.getOutputStream();
      var buffer = new byte[16384];
      for (int n; (n = in.read(buffer)) > 0;) out.write(buffer, 0, n);
    } catch (IOException e) {
      System.err.println("connection: " + e);
    }
  }

  public static void main(String[] arguments) throws IOException {
    try (var listener = new ServerSocket(0, 1024, InetAddress.getLoopbackAddress())) {
      System.out.println("listening on " + listener.getLocalPort());
      for (;;) {
        var socket = listener.accept();
        new Thread(() -> serve(socket)).start();
      }
    }
  }
}
