// The licences of what is bundled: each dependency's own, and the notices of others' work that stand in its source.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const RULE = "-".repeat(80);
const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));

const texts = Object.keys(dependencies).flatMap((name) => {
  const folder = `node_modules/${name}`, about = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const files = readdirSync(folder).filter((file) => /^(licen[sc]e|notice)/i.test(file));
  if (!files.length) throw new Error(`${name} has no licence file`);
  const own = files.map((file) => readFileSync(`${folder}/${file}`, "utf8").trim());
  const comments = readFileSync(`${folder}/${about.main}`, "utf8").match(/\/\*[^]*?\*\//g) ?? [];
  const plain = comments.map((text) => text.replace(/^[ \t]*\/?\*+\/?[ \t]?/gm, "").trim());
  const others = plain.filter((text) => (text.match(/^Copyright.*$/gm) ?? []).some((line) => !own.join().includes(line)));
  return [`${name} ${about.version}, ${about.license}`, ...own, ...new Set(others)];
});
writeFileSync("../deepslide_nb/static/LICENSES.txt", `${texts.join(`\n\n${RULE}\n\n`)}\n`);
