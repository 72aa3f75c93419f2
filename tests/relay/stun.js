// A foreign STUN client: npm's stun.  Prints the address that HOST:PORT sees it come from.
const stun = require('stun');

stun.request(process.argv[2], (error, answer) => {
  if (error) {
    console.error(String(error));
    process.exit(1);
  }
  console.log(answer.getXorAddress().address);
});
