# An echo server with a Thread for each connection.
require 'socket'

listener = TCPServer.new('127.0.0.1', 0)
listener.listen(1024)
$stdout.sync = true
puts "listening on #{listener.addr[1]}"
loop do
  client = listener.accept
  Thread.new(client) do |socket|
    loop { socket.write(socket.readpartial(16_384)) }
  rescue EOFError
    socket.close
  end
end
