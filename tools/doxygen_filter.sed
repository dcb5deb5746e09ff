# Turns the plain comments of a header into Doxygen's: the first block documents the file, a block before a
# declaration the declaration, one after it the member.
1s|^// |/// \\file\n/// |
s|^( *)//( [^/]*.*)?$|\1///\2|
s|([;,{})]) +// (.*)$|\1  ///< \2|
# In a comment, <T>, @ and # are text.
/\/\/\//{
  s|NOLINT.*$||
  s|([^`])<([A-Za-z/])|\1\\<\2|g
}
