package wggo

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// knocker writes initiations as stock wireguard-go does, to be sent by hand.
type knocker struct {
	dev  *device.Device
	peer *device.Peer
	macs device.CookieGenerator
}

func newKnocker(t testing.TB, key, server wgtypes.Key) *knocker {
	t.Helper()
	k := &knocker{dev: device.NewDevice(newPipe(func([]byte) {}), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))}
	t.Cleanup(k.dev.Close)
	require.NoError(t, k.dev.IpcSet("private_key="+hexKey(key)+"\npublic_key="+hexKey(server)+"\n"))
	k.peer = k.dev.LookupPeer(device.NoisePublicKey(server))
	k.macs.Init(device.NoisePublicKey(server))
	return k
}

// next is an initiation later than all before.
func (k *knocker) next(t testing.TB) message {
	t.Helper()
	time.Sleep(20 * time.Millisecond) // a timestamp is that coarse
	m, err := k.dev.CreateMessageInitiation(k.peer)
	require.NoError(t, err)
	packet := binary.LittleEndian.AppendUint32(nil, m.Type)
	packet = binary.LittleEndian.AppendUint32(packet, m.Sender)
	packet = append(append(append(packet, m.Ephemeral[:]...), m.Static[:]...), m.Timestamp[:]...)
	packet = append(packet, make([]byte, device.MessageInitiationSize-len(packet))...)
	k.macs.AddMacs(packet)
	return message(packet)
}

// wire is a socket of a sender.
type wire struct {
	*net.UDPConn
	t testing.TB
}

func newWire(t testing.TB, port uint16) wire {
	t.Helper()
	socket, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	return wire{socket, t}
}

// answer is the type of the message that comes in return; 0 for none in a time.
func (w wire) answer(m message, within time.Duration) uint32 {
	w.t.Helper()
	_, err := w.Write(m[:])
	require.NoError(w.t, err)
	require.NoError(w.t, w.SetReadDeadline(time.Now().Add(within)))
	b := make([]byte, device.MaxMessageSize)
	if n, err := w.Read(b); err != nil || n < 4 {
		return 0
	}
	return messageType(b)
}
