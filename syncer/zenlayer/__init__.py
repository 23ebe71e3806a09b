"""The API of Zenlayer Cloud: what is asked, how it is signed and paced, how replies are read."""
