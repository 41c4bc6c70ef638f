// Package suite holds the algorithms of an IKE SA and the derivation of every key from what the two peers exchanged.
//
// It keeps no state beyond a Protector's IV counter, starts nothing, and reads no randomness but what it is handed, so the engine that calls it
// stays a pure function of its inputs. Keys are secret.Bytes; who was given them closes them.
//
//	res := suite.KEJob{Op: suite.Generate, Method: c.KE, Seed: seed}.Run()      // on any goroutine
//	fin := suite.KEJob{Op: suite.Finish, Method: c.KE, Private: res.Private, Peer: keR}.Run()
//	s, err := suite.InitialSKEYSEED(c.PRF, fin.Shared, ni, nr)
//	keys, err := suite.DeriveIKEKeys(c, s, ni, nr, spiI, spiR)
//	out, in, err := keys.Protectors(c, true, entropy)                           // for wire.Seal and wire.Open
//
// A round of RFC 9370 goes on with IntermediateSKEYSEED and DeriveIKEKeys, a child with ChildKeys, a rekey of the IKE SA with RekeySKEYSEED.
//
// What an algorithm is called, how long its keys may be and whether its Key Length attribute must be there is in the tables: CipherOf, KeyBits,
// IntegKeyLen, PRFKeyLen, PublicLen, Supported.
package suite
