// Package chaos stands between a client and a server over TCP, and has their connection fail in the ways in which networks do.
//
//	proxy := chaos.New(t, serverAddress)
//	connect(proxy.Addr())
//	proxy.Set(chaos.Faults{Delay: time.Second})  // for those that are connected, and those that come
//	proxy.Set(chaos.Faults{Reset: 100})          // after 100 bytes more, with RST
//	proxy.Set(chaos.Faults{})                    // all is well again
//
// What a connection has lost stays lost: after a fault that drops or garbles bytes a client has to connect anew, as it would have to
// after the real one. [Proxy.Sever] ends all that there are.
//
// Only tests import it. It needs no privilege; New starts it, and it ends with the test.
package chaos
