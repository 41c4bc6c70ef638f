// Package msg is the contract between the processes: every message that one of them may say to another.
//
// Each message is a plain struct. Kind numbers it, Routes says who may say it to whom, and Encode and Decode turn
// it into the payload of one frame (package ipc frames it) and back. Decoding is bounded, allocates no more than the
// payload holds, and refuses trailing octets, so that Encode(Decode(b)) == b for every b that decodes.
//
// Request and answer carry the same Req number, chosen by the asker and unique in its link's life. An answer to an unknown Req
// is ignored (it may come after a time-out), any other surprise is fatal for the link.
package msg
