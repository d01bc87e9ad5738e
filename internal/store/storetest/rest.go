package storetest

var randomRules []rule
