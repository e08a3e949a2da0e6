package crypto_test

import (
	"fmt"
	"log"

	"github.com/multilink-vpn/multilink/crypto"
)

// A handshake in keys mode, and a packet in each direction. What Init and Finish return
// travels between the two sides.
func Example() {
	clientKey, serverKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()

	client, err := crypto.NewInitiator(crypto.HandshakeConfig{Key: clientKey, Peer: serverKey.Public()})
	if err != nil {
		log.Fatal(err)
	}
	msg1, err := client.Init(nil, []byte("client's parameters"))
	if err != nil {
		log.Fatal(err)
	}

	server, err := crypto.NewResponder(crypto.HandshakeConfig{Key: serverKey})
	if err != nil {
		log.Fatal(err)
	}
	params, peer, err := server.Read(msg1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("server: %s, from a known peer: %v\n", params, peer == clientKey.Public())
	msg2, serverSecrets, err := server.Finish(nil, []byte("server's parameters"))
	if err != nil {
		log.Fatal(err)
	}

	params, clientSecrets, err := client.Finish(msg2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("client: %s\n", params)

	aead, err := crypto.Choose(crypto.Supported(), crypto.ChaCha20Poly1305.Bit())
	if err != nil {
		log.Fatal(err)
	}
	const link, epoch = 0, 0
	sealer, err := clientSecrets.Sealer(aead, link, epoch)
	if err != nil {
		log.Fatal(err)
	}
	opener, err := serverSecrets.Opener(aead, link, epoch)
	if err != nil {
		log.Fatal(err)
	}
	header := []byte("header")
	low := uint32(sealer.Counter()) // travels in the header
	sealed, err := sealer.Seal(nil, []byte("packet"), header)
	if err != nil {
		log.Fatal(err)
	}
	packet, err := opener.Open(nil, sealed, header, opener.Expand(low))
	fmt.Printf("%s, sealed with %v: %v\n", packet, aead, err)
	_, err = opener.Open(nil, sealed, header, opener.Expand(low))
	fmt.Println("again:", err)
	// Output:
	// server: client's parameters, from a known peer: true
	// client: server's parameters
	// packet, sealed with ChaCha20-Poly1305: <nil>
	// again: crypto: packet replayed or too old
}

// The key of password mode is derived once, when the program starts.
func ExamplePasswordKey() {
	_, err := crypto.PasswordKey("too short", "home")
	fmt.Println(err)
	key, err := crypto.PasswordKey("correct horse battery staple", "home")
	fmt.Println(key, err)
	// Output:
	// the password has 9 characters, at least 16 are needed; better generate one: crypto: weak password
	// (preshared key) <nil>
}

// Secret keys give away their text only when asked for it.
func ExamplePrivateKey_EncodeText() {
	key := crypto.GeneratePrivateKey()
	fmt.Printf("%v, %d characters\n", key, len(key.EncodeText()))
	again, err := crypto.ParsePrivateKey(key.EncodeText())
	fmt.Println(again == key, err)
	// Output:
	// (private key), 44 characters
	// true <nil>
}
