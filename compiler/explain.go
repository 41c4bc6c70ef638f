package compiler

// explanations tell more about each code.
var explanations = map[Code]string{}
