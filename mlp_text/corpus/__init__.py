"""Corpora for masked-LM training: raw text, tokenised once into blocks of tokens on disk."""
